import { Home } from '@weft/files';
import type { Terminal } from './terminal.js';

/** Options every command understands, as commander collects them. */
export interface CommonOptions {
  readonly home?: string;
  readonly coordinator?: string;
  readonly json?: boolean;
  readonly redis?: string;
}

/** What every command is given. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** Absolute. */
  readonly home: string;
  /** The coordinator the person named, by `--coordinator` or `$WEFT_COORDINATOR`; otherwise the one of this home. */
  readonly coordinator: string | undefined;
  readonly json: boolean;
  /** Where logs and queue of a coordinator that we start are kept; undefined: in files of the home. */
  readonly redisUrl: string | undefined;
  readonly keyPrefix: string | undefined;
}

export function contextOf(options: CommonOptions, terminal: Terminal): CommandContext {
  return {
    terminal,
    home: new Home(options.home, terminal.env).directory,
    coordinator: options.coordinator ?? (terminal.env.WEFT_COORDINATOR || undefined),
    json: options.json === true,
    redisUrl: options.redis ?? (terminal.env.WEFT_REDIS_URL || undefined),
    keyPrefix: terminal.env.WEFT_REDIS_PREFIX || undefined,
  };
}
