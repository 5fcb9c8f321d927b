import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { freePort } from '@weft/testing';
import type { Command } from './candidate-processes.js';
import type { CandidateSpec } from './candidate-spec.js';
import { onOwnCores } from './machine.js';
import { type BenchCase, type CandidateName, isGemm, type Peer } from './plan.js';
import { MEASURED_PROCESS, MODULE, peerScript, pythonOf } from './programs.js';

const SCRIPT: Readonly<Record<Peer | 'torch-gemm', string>> = {
  'torch-eager': 'torch_step.py',
  'torch-compile': 'torch_step.py',
  'torch-ddp': 'torch_step.py',
  'torch-gemm': 'torch_gemm.py',
  jax: 'jax_step.py',
};

/** What all processes of a candidate have in common. */
export type SharedSpec = Pick<CandidateSpec, 'model' | 'optimizer' | 'fixture' | 'trace' | 'productForms'>;

export interface CommandOptions {
  readonly shared: SharedSpec;
  /** The model's decoder alone, for `weft-decoder`. */
  readonly decoder: SharedSpec;
  /** The folder of the checkout that `weft-before` runs from. */
  readonly before: string | undefined;
  /** For what compilers keep between rounds. */
  readonly cacheDirectory: string;
}

/** Processes and threads of a candidate. Bare matrix products use in one process all threads of the case. */
export function resourcesOf(candidate: CandidateName, { processes, threads }: BenchCase) {
  if (isGemm(candidate)) return { processes: 1, threads: processes * threads };
  return { processes: candidate === 'weft-alone' ? 1 : processes, threads };
}

/** One command for each process of a candidate. */
export async function commandsOf(
  candidate: CandidateName,
  benchCase: BenchCase,
  { shared, decoder, before, cacheDirectory }: CommandOptions,
): Promise<Command[]> {
  const { processes, threads } = resourcesOf(candidate, benchCase);
  const port = candidate === 'torch-ddp' ? await freePort() : 0;
  return Array.from({ length: processes }, (_, rank) => {
    const spec: CandidateSpec = {
      ...(candidate === 'weft-decoder' ? decoder : candidate === 'weft-fixed' ? fixedForms(shared) : shared),
      device: 'cpu',
      work: isGemm(candidate) ? 'gemm' : 'train',
      precision: benchCase.precision,
      threads,
      rank,
      worldSize: candidate === 'weft-apart' ? 1 : processes,
      // The decoder takes the train step that the whole model takes.
      isDataParallel: benchCase.processes > 1 || candidate === 'weft-decoder',
      startedAtMs: Date.now(),
      mode: candidate === 'torch-compile' ? 'compile' : 'eager',
    };
    const environment = {
      OMP_NUM_THREADS: `${threads}`,
      MKL_NUM_THREADS: `${threads}`,
      // A cache of this run alone: the first compilation is cold, whatever ran before.
      TORCHINDUCTOR_CACHE_DIR: cacheDirectory,
      PYTHONDONTWRITEBYTECODE: '1',
      ...(port === 0
        ? {}
        : { RANK: `${rank}`, WORLD_SIZE: `${processes}`, MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${port}` }),
    };
    switch (candidate) {
      case 'weft-before': {
        const script = measuredProcessOf(before ?? '');
        return { ...bound(process.execPath, [script, JSON.stringify(spec)], spec), environment: {} };
      }
      case 'weft':
      case 'weft-alone':
      case 'weft-apart':
      case 'weft-decoder':
      case 'weft-fixed':
      case 'gemm':
        return { ...bound(process.execPath, [MEASURED_PROCESS, JSON.stringify(spec)], spec), environment: {} };
      default: {
        const peer = candidate === 'torch-gemm' ? 'torch-eager' : candidate;
        const args = [peerScript(SCRIPT[candidate]), JSON.stringify(spec)];
        return { ...bound(pythonOf(peer), args, spec), environment };
      }
    }
  });
}

function fixedForms({ productForms, ...shared }: SharedSpec): SharedSpec {
  return shared;
}

/** The program of another checkout that runs its step. It reads the same arguments and messages as ours. */
export function measuredProcessOf(checkout: string): string {
  return join(checkout, 'bench/dist/measured-process.js');
}

function bound(program: string, args: readonly string[], { rank, threads }: CandidateSpec) {
  return onOwnCores({ program, args }, rank, threads);
}

/** Which of the wished peers can run here, and a sentence for each module that is missing. */
export function findPeers(wished: readonly Peer[]): { readonly peers: readonly Peer[]; readonly missing: string[] } {
  const has = new Map<string, boolean>();
  for (const peer of wished) {
    if (has.has(MODULE[peer])) continue;
    const code = `import importlib.util, sys; sys.exit(importlib.util.find_spec("${MODULE[peer]}") is None)`;
    has.set(MODULE[peer], spawnSync(pythonOf(peer), ['-c', code]).status === 0);
  }
  const variable = { torch: 'WEFT_BENCH_PYTHON', jax: 'WEFT_BENCH_JAX_PYTHON' } as const;
  const absent = new Set(wished.map((peer) => MODULE[peer]).filter((module) => has.get(module) === false));
  return {
    peers: wished.filter((peer) => has.get(MODULE[peer])),
    missing: [...absent].map((module) => `${module} is left out: Python has none (${variable[module]} names another)`),
  };
}
