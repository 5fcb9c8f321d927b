import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** A program with its arguments. */
interface Call {
  readonly program: string;
  readonly args: readonly string[];
}

/**
 * The call, bound to cores of its own: as many as it has threads, and others for each rank. So nobody's helper threads
 * take cores that it was not given, and processes do not push each other from core to core. Cluster schedulers bind
 * ranks the same way. Where `taskset` is missing, the call is as it was.
 */
export function onOwnCores(call: Call, rank: number, threads: number): Call {
  const cores = allowedCores().slice(rank * threads, (rank + 1) * threads);
  if (cores.length === 0 || cores.length < threads || !hasTaskset()) return call;
  return { program: 'taskset', args: ['--cpu-list', cores.join(), call.program, ...call.args] };
}

/** The numbers of the cores that this process may use; none where the system does not tell. */
function allowedCores(): readonly number[] {
  if (process.platform !== 'linux') return [];
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return list === undefined ? [] : parseCores(list);
}

/** @param list as in proc(5): `0-3,8` */
export function parseCores(list: string): readonly number[] {
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

let found: boolean | undefined;

function hasTaskset(): boolean {
  found ??= spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0;
  return found;
}
