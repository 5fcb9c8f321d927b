import { isAbsolute, join, relative, resolve, sep } from 'node:path';

/** Where Weft keeps runs, logs and data of this machine: `--home`, else `$WEFT_HOME`, else `.weft` here; absolute. */
export function weftHome(option: string | undefined, env: Readonly<Record<string, string | undefined>>): string {
  return resolve(option ?? (env.WEFT_HOME || '.weft'));
}

/** A path as a configuration writes it: `.weft/…` means the home, wherever that is; all else is relative to here. */
export function pathFromHome(path: string, home: string): string {
  if (path === '.weft' || path.startsWith(`.weft${sep}`)) return join(home, path.slice('.weft'.length));
  return resolve(path);
}

/** A path as short as it can be written: relative when it lies below the current directory. */
export function shortPath(path: string): string {
  const here = relative('.', path);
  return here === '' || here.startsWith('..') || isAbsolute(here) ? path : here;
}

export const runsDirectory = (home: string) => join(home, 'runs');
export const runDirectory = (home: string, runId: string) => join(home, 'runs', runId);
export const coordinatorFile = (home: string) => join(home, 'coordinator.json');
export const logsDirectory = (home: string) => join(home, 'logs');
