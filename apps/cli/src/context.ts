import { Home } from '@weft/files';
import type { Terminal } from './terminal.js';

/** Options that every command has, as commander collects them. */
export interface CommonOptions {
  readonly home?: string;
  readonly coordinator?: string;
  readonly json?: boolean;
  readonly redis?: string;
}

/** The context of a command. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** Absolute. */
  readonly home: string;
  /** `host:port` from `--coordinator` or `$WEFT_COORDINATOR`; undefined: the coordinator of the home. */
  readonly coordinator: string | undefined;
  readonly json: boolean;
  /** Where a coordinator started by this command keeps logs and queue; undefined: in files of the home. */
  readonly redisUrl: string | undefined;
  readonly keyPrefix: string | undefined;
}

/** Runs a command: gives it its context and keeps its exit code. */
export type RunCommand = (
  options: CommonOptions,
  command: (context: CommandContext) => Promise<number>,
) => Promise<void>;

/** Options win over environment variables. */
export function createContext(options: CommonOptions, terminal: Terminal): CommandContext {
  return {
    terminal,
    home: new Home(options.home, terminal.env).directory,
    coordinator: options.coordinator ?? (terminal.env.WEFT_COORDINATOR || undefined),
    json: options.json === true,
    redisUrl: options.redis ?? (terminal.env.WEFT_REDIS_URL || undefined),
    keyPrefix: terminal.env.WEFT_REDIS_PREFIX || undefined,
  };
}
