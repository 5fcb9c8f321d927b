import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ContestantSpec } from './contestant-spec.js';
import { onOwnCores } from './own-cores.js';
import { pythonOf } from './peers.js';
import { type BenchCase, type ContestantName, isGemm, type Peer } from './plan.js';
import type { Command } from './team.js';

const MEASURED_PROCESS = fileURLToPath(new URL('./measured-process.js', import.meta.url));
const peerScript = (name: string) => fileURLToPath(new URL(`../peers/${name}`, import.meta.url));

const SCRIPT: Readonly<Record<Peer | 'torch-gemm', string>> = {
  'torch-eager': 'torch_step.py',
  'torch-compile': 'torch_step.py',
  'torch-ddp': 'torch_step.py',
  'torch-gemm': 'torch_gemm.py',
  jax: 'jax_step.py',
};

/** What all processes of a contestant have in common. */
export type TeamSpec = Pick<ContestantSpec, 'model' | 'optimizer' | 'fixture' | 'trace'>;

/** Processes and threads of a contestant. Bare matrix products use in one process all threads of the case. */
export function meansOf(contestant: ContestantName, { processes, threads }: BenchCase) {
  if (isGemm(contestant)) return { processes: 1, threads: processes * threads };
  return { processes: contestant === 'weft-alone' ? 1 : processes, threads };
}

/** One command for each process of a contestant. */
export async function commandsOf(
  contestant: ContestantName,
  benchCase: BenchCase,
  team: TeamSpec,
  cacheDirectory: string,
): Promise<Command[]> {
  const { processes, threads } = meansOf(contestant, benchCase);
  const port = contestant === 'torch-ddp' ? await freePort() : 0;
  return Array.from({ length: processes }, (_, rank) => {
    const spec: ContestantSpec = {
      ...team,
      work: isGemm(contestant) ? 'gemm' : 'train',
      precision: benchCase.precision,
      threads,
      rank,
      worldSize: contestant === 'weft-apart' ? 1 : processes,
      isDataParallel: benchCase.processes > 1,
      startedAtMs: Date.now(),
      mode: contestant === 'torch-compile' ? 'compile' : 'eager',
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
    switch (contestant) {
      case 'weft':
      case 'weft-alone':
      case 'weft-apart':
      case 'gemm':
        return { ...bound(process.execPath, [MEASURED_PROCESS, JSON.stringify(spec)], spec), environment: {} };
      default: {
        const peer = contestant === 'torch-gemm' ? 'torch-eager' : contestant;
        const args = [peerScript(SCRIPT[contestant]), JSON.stringify(spec)];
        return { ...bound(pythonOf(peer), args, spec), environment };
      }
    }
  });
}

function bound(program: string, args: readonly string[], { rank, threads }: ContestantSpec) {
  return onOwnCores({ program, args }, rank, threads);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof bound === 'object' && bound !== null ? bound.port : 0;
}
