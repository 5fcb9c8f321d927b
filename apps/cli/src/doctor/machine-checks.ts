import { execFile } from 'node:child_process';
import { access, constants, stat, statfs } from 'node:fs/promises';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { bytes, plural, WEFT_VERSION } from '@weft/common';
import { shortPath } from '@weft/files';
import type { Check } from './check.js';

const run = promisify(execFile);
const TIMEOUT_MS = 10_000;
/** A few checkpoints of a small run and the demo data. */
const LITTLE_DISK_BYTES = 2 * 1024 ** 3;
const LITTLE_MEMORY_BYTES = 2 * 1024 ** 3;

/** The versions of Weft and Node, and the platform. */
export function versionCheck(): Check {
  return {
    name: 'weft',
    status: 'ok',
    finding: `${WEFT_VERSION} on Node ${process.versions.node}, ${process.platform} ${process.arch}`,
  };
}

/** Processor and GPUs. */
export async function deviceChecks(): Promise<Check[]> {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const cpu: Check = {
    name: 'processor',
    status: 'ok',
    finding: `${plural(availableParallelism(), 'thread')} (${model})`,
  };
  try {
    const { stdout } = await run('nvidia-smi', ['--query-gpu=name,memory.total', '--format=csv,noheader'], {
      timeout: TIMEOUT_MS,
    });
    const gpus = stdout
      .trim()
      .split('\n')
      .filter((line) => line !== '');
    return [cpu, { name: 'GPUs', status: 'ok', finding: gpus.join('; ') }];
  } catch {
    return [cpu, { name: 'GPUs', status: 'note', finding: 'none that nvidia-smi knows' }];
  }
}

/** Memory of the machine, in all and free. */
export function memoryCheck(): Check {
  const finding = `${bytes(totalmem())}, ${bytes(freemem())} of it free`;
  const hint = 'leave memory for the workers: each of a small run needs about a gigabyte';
  return freemem() < LITTLE_MEMORY_BYTES
    ? { name: 'memory', status: 'missing', finding, hint }
    : { name: 'memory', status: 'ok', finding };
}

/** Whether the home can be written, and the free space of its disk. */
export async function homeCheck(home: string): Promise<Check> {
  const existing = await nearestExisting(home);
  try {
    if (!(await stat(existing)).isDirectory()) throw new Error(`${existing} is a file`);
    await access(existing, constants.W_OK);
    const { bavail, bsize } = await statfs(existing);
    const finding = `${shortPath(home)}, ${bytes(bavail * bsize)} free`;
    return bavail * bsize < LITTLE_DISK_BYTES
      ? { name: 'home', status: 'missing', finding, hint: 'free some disk, or choose a roomier --home' }
      : { name: 'home', status: 'ok', finding };
  } catch {
    const hint = 'choose another directory with --home or WEFT_HOME';
    return { name: 'home', status: 'fatal', finding: `${shortPath(home)} cannot be written`, hint };
  }
}

/** Optional: only scripts that read checkpoints in Python want it. */
export async function pythonCheck(): Promise<Check> {
  const name = 'Python';
  const script =
    'import sys\ntry:\n import safetensors as s\n v=s.__version__\nexcept ImportError:\n v="-"\nprint(sys.version.split()[0], v)';
  try {
    const { stdout } = await run('python3', ['-c', script], { timeout: TIMEOUT_MS });
    const [python, safetensors] = stdout.trim().split(' ');
    return safetensors === '-'
      ? { name, status: 'note', finding: `${python} without safetensors; optional, to read checkpoints from Python` }
      : { name, status: 'ok', finding: `${python} with safetensors ${safetensors}` };
  } catch {
    return { name, status: 'note', finding: 'none; optional, to read checkpoints from Python' };
  }
}

async function nearestExisting(path: string): Promise<string> {
  for (let current = path; ; current = dirname(current)) {
    if (dirname(current) === current) return current;
    const exists = await access(current).then(
      () => true,
      () => false,
    );
    if (exists) return current;
  }
}
