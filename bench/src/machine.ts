import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { bf16Instructions, type VectorInstructions, vectorInstructions } from '@weft/common';
import type { Precision } from '@weft/config';

/** The machine that a table was measured on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly node: string;
  /** Unknown, and so none, outside Linux on x86. */
  readonly instructions: readonly VectorInstructions[];
  /** What oneDNN, the library of TensorFlow's products, may use at most; absent: all. */
  readonly onednnLimit?: string;
}

export function describeMachine(): Machine {
  const onednnLimit = process.env.ONEDNN_MAX_CPU_ISA;
  const cpuinfo = process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    node: process.version,
    instructions: vectorInstructions(cpuinfo),
    ...(onednnLimit === undefined ? {} : { onednnLimit }),
  };
}

/** The head of a table. */
export function machineSentence({ processor, cores, node, instructions, onednnLimit }: Machine): string {
  const vectors = instructions.length === 0 ? 'vector instructions unknown' : instructions.join(', ');
  const limit = onednnLimit === undefined ? '' : `, oneDNN limited to ${onednnLimit}`;
  return `${processor}, ${vectors}${limit}, ${cores} cores, Node ${node}`;
}

/** The precisions that a processor does not emulate. */
export function nativePrecisions({
  instructions,
  onednnLimit = 'DEFAULT',
}: Pick<Machine, 'instructions' | 'onednnLimit'>): readonly Precision[] {
  const mayUse = /BF16|FP16|AMX|ALL|DEFAULT/.test(onednnLimit.toUpperCase());
  return mayUse && bf16Instructions(instructions).length > 0 ? ['fp32', 'bf16'] : ['fp32'];
}

/** A program with its arguments. */
interface Call {
  readonly program: string;
  readonly args: readonly string[];
}

/**
 * The call, bound to cores of its own: as many as it has threads, and others for each rank. So helper threads
 * stay on the cores of their process, and processes do not push each other from core to core. Cluster schedulers bind
 * ranks the same way. Where `taskset` is missing, the call is as it was.
 */
export function onOwnCores(call: Call, rank: number, threads: number): Call {
  const cores = allowedCores().slice(rank * threads, (rank + 1) * threads);
  if (cores.length === 0 || cores.length < threads || !hasTaskset()) return call;
  return { program: 'taskset', args: ['--cpu-list', cores.join(), call.program, ...call.args] };
}

/** The numbers of the cores that this process may use; none where the system does not list them. */
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

/** Ticks of a processor a second, on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/**
 * Seconds since boot in which this machine's cores were taken: by any process, by the kernel, or by the machine's host,
 * which gave them to another machine. Undefined where the system does not count them.
 */
export function busyCoreSeconds(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  return parseBusySeconds(readFileSync('/proc/stat', 'utf8'));
}

/** @param stat the text of Linux's /proc/stat, see proc(5) */
export function parseBusySeconds(stat: string): number | undefined {
  const ticks = /^cpu +(.*)$/m.exec(stat)?.[1]?.split(' ').map(Number);
  if (ticks === undefined) return undefined;
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0, stolen = 0] = ticks;
  return (user + nice + system + interrupts + softInterrupts + stolen) / TICKS_PER_SECOND;
}
