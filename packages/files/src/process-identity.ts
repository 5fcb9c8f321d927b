import { readFile } from 'node:fs/promises';

/** Whether the process that had this id and start still lives. */
export async function isProcessAlive(processId: number, ticks: string): Promise<boolean> {
  try {
    process.kill(processId, 0);
  } catch (error) {
    // EPERM: there is such a process, of another user.
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return false;
  }
  const now = await startTicks(processId);
  return now === undefined || now === ticks;
}

/**
 * Start of a process in clock ticks since boot; tells it from a later one of the same id. Field 22 of /proc/<id>/stat,
 * counted after the name, which may hold anything up to the last bracket.
 */
export async function startTicks(processId: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${processId}/stat`, 'utf8').catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}
