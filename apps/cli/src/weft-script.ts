import { fileURLToPath } from 'node:url';
import { type Launcher, LocalLauncher } from '@weft/launch';
import type { CommandContext } from './context.js';

/** The `weft` command itself; the same file seen from `src` and from `dist`. */
export const WEFT_SCRIPT = fileURLToPath(new URL('../bin/weft.js', import.meta.url));

/** Starts clusters of this `weft` on this machine, with the home and the store of the command. */
export function localLauncher({ home, terminal, redisUrl }: CommandContext): Launcher {
  const env = { ...terminal.env, ...(redisUrl === undefined ? {} : { WEFT_REDIS_URL: redisUrl }) };
  return new LocalLauncher({ home, script: WEFT_SCRIPT, env });
}
