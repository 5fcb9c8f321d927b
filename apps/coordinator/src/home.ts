import { join, resolve } from 'node:path';

/** `--home`, else `$WEFT_HOME`, else `.weft` in the current directory; absolute. */
export function homeDirectory(option: string | undefined, env: Readonly<Record<string, string | undefined>>): string {
  return resolve(option ?? (env.WEFT_HOME || '.weft'));
}

export function runDirectory(home: string, runId: string): string {
  return join(home, 'runs', runId);
}

/** The file that tells others of this machine where the living coordinator is. */
export function coordinatorFile(home: string): string {
  return join(home, 'coordinator.json');
}
