import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { chipNames, readChip } from '@weft/backend-pjrt';
import type { DevicePeak, WorkerMemory } from '@weft/contracts';
import type { ComputeHost } from './bf16-support.js';

/** Where a worker reads what it has. */
export interface MemorySources {
  /** Bytes of the machine, as the system counts them. */
  readonly machineBytes: number;
  /** The limit of this process's container; undefined where there is none, and 0 or a huge number mean the same. */
  readonly containerBytes: number | undefined;
  /** Linux's `/proc/meminfo`; empty elsewhere. */
  readonly meminfo: string;
  /** The megabytes of each GPU, one a line, as `nvidia-smi` writes them; called only where a plugin computes on GPUs. */
  readonly gpuLines: () => string;
}

/**
 * The memory of this host, of which a run's state must not need more. What is not known is 0, and nothing is refused for it: the
 * host's where TensorFlow computes on GPUs, which may have more, and that of accelerators which NVIDIA's tool does not list.
 */
export function workerMemory(
  { hasAccelerator, tensorflow }: Pick<ComputeHost, 'hasAccelerator' | 'tensorflow'>,
  sources: MemorySources = systemSources(),
): WorkerMemory {
  const { machineBytes, containerBytes = 0, meminfo, gpuLines } = sources;
  const swapBytes = Number(/^SwapTotal:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0) * 1024;
  const isLimited = containerBytes > 0 && containerBytes < machineBytes;
  const hostBytes = tensorflow === 'gpu' ? 0 : (isLimited ? containerBytes : machineBytes) + swapBytes;
  const gpus = hasAccelerator ? parseMegabytes(gpuLines()) : [];
  return { hostBytes, devices: gpus.length, deviceBytes: gpus.length === 0 ? 0 : Math.min(...gpus) };
}

/**
 * What the devices of this worker could compute, for MFU: what a person says, else what the table of chips says of every GPU
 * here. Undefined where one of them is not in the table, and on processors, whose peak nobody has measured.
 *
 * @param tflops the peak of all devices together, 10¹² operations per second, where it was given
 * @param gpuNames the name of each GPU, one a line, as `nvidia-smi` writes them; called only where GPUs compute
 */
export function devicePeak(
  { hasAccelerator, tensorflow }: Pick<ComputeHost, 'hasAccelerator' | 'tensorflow'>,
  tflops: number | undefined,
  gpuNames: () => string = () => visibleGpus('name'),
): DevicePeak | undefined {
  if (tflops !== undefined) return { bf16: tflops * 1e12, fp32: tflops * 1e12 };
  if (!hasAccelerator && tensorflow !== 'gpu') return undefined;
  const chips = chipNames().map(readChip);
  const names = gpuNames()
    .split('\n')
    .flatMap((line) => line.trim() || []);
  const found = names.flatMap((name) => chips.find((chip) => chip.name === name) ?? []);
  if (found.length === 0 || found.length < names.length) return undefined;
  return {
    bf16: found.reduce((sum, chip) => sum + chip.peakBf16TflopPerSecond * 1e12, 0),
    fp32: found.reduce((sum, chip) => sum + chip.peakFp32TflopPerSecond * 1e12, 0),
  };
}

/** Megabytes of 2²⁰, one a line → bytes. */
function parseMegabytes(lines: string): readonly number[] {
  return lines
    .split('\n')
    .map((line) => Number.parseInt(line, 10) * 2 ** 20)
    .filter((bytes) => bytes > 0);
}

function systemSources(): MemorySources {
  return {
    machineBytes: totalmem(),
    containerBytes: process.constrainedMemory(),
    meminfo: readMeminfo(),
    gpuLines: () => visibleGpus('memory.total'),
  };
}

function readMeminfo(): string {
  try {
    return readFileSync('/proc/meminfo', 'utf8');
  } catch {
    return '';
  }
}

/** What NVIDIA's tool says of the GPUs that this process may use, a line each. */
function visibleGpus(query: 'memory.total' | 'name'): string {
  const visible = process.env.CUDA_VISIBLE_DEVICES;
  if (visible === '' || visible === '-1') return '';
  const only = visible === undefined ? [] : [`--id=${visible}`];
  const args = [`--query-gpu=${query}`, '--format=csv,noheader,nounits', ...only];
  const { status, stdout } = spawnSync('nvidia-smi', args, { encoding: 'utf8', timeout: 20_000 });
  return status === 0 ? stdout : '';
}
