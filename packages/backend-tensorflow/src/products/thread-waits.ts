import { readdirSync, readFileSync } from 'node:fs';

/**
 * Milliseconds that the threads of this process, together, were ready to run and waited for a core: it grows where others use
 * the machine. Undefined where the system does not count them.
 */
export function threadWaitMs(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const nanoseconds = readdirSync('/proc/self/task').map((thread) =>
      waitOf(readIfThere(`/proc/self/task/${thread}/schedstat`)),
    );
    return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e6;
  } catch {
    return undefined;
  }
}

/** @param schedstat nanoseconds on a core, nanoseconds waiting for one, and how often it got one; see Linux's sched-stats */
function waitOf(schedstat: string): number {
  return Number(schedstat.split(' ')[1] ?? 0);
}

/** A thread may end between the two reads. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
