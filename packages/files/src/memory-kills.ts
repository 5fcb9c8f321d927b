import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isProcessAlive, startTicks } from './process-identity.js';

/** Watches a process of this machine for the end that the kernel gives where memory is short. */
export interface MemoryWatch {
  /** Whether the process is gone, and the kernel has killed one for want of memory since the watch began. */
  wasKilled(): Promise<boolean>;
}

/**
 * Begins to watch a process. The kernel tells nobody whom it kills, but counts: in the cgroup of the process where that has
 * such a counter, else on the whole machine.
 *
 * @param root where `proc` and `sys` are; default: the machine's
 */
export async function watchMemory(processId: number, root = '/'): Promise<MemoryWatch> {
  const ticks = await startTicks(processId);
  const counter = await findCounter(processId, root);
  return {
    wasKilled: async () => {
      if (counter === undefined || ticks === undefined) return false;
      const now = await readCount(counter.path);
      return now !== undefined && now > counter.count && !(await isRunning(processId, ticks));
    },
  };
}

async function findCounter(processId: number, root: string): Promise<{ path: string; count: number } | undefined> {
  for (const path of await counterFiles(processId, root)) {
    const count = await readCount(path);
    if (count !== undefined) return { path, count };
  }
  return undefined;
}

/** The files that may count kills, the closest to the process first. */
async function counterFiles(processId: number, root: string): Promise<readonly string[]> {
  const cgroups = await readFile(join(root, 'proc', `${processId}`, 'cgroup'), 'utf8').catch(() => '');
  const folder = join(root, 'sys/fs/cgroup');
  const own = cgroups.split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) return [];
    if (controllers === '') return join(folder, path, 'memory.events');
    return controllers === 'memory' ? join(folder, 'memory', path, 'memory.oom_control') : [];
  });
  // In a container the path may be that of the host; then the mounted root is the container's own.
  const mounted = [join(folder, 'memory.events'), join(folder, 'memory/memory.oom_control')];
  return [...own, ...mounted, join(root, 'proc/vmstat')];
}

async function readCount(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const [, count] = /^oom_kill (\d+)$/m.exec(text) ?? [];
  return count === undefined ? undefined : Number(count);
}

/** A zombie is not: its parent has yet to take note of its end. */
async function isRunning(processId: number, ticks: string): Promise<boolean> {
  if (!(await isProcessAlive(processId, ticks))) return false;
  const stat = await readFile(`/proc/${processId}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
}
