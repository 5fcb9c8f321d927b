import { median } from '@weft/common';
import type { Precision } from '@weft/config';
import { CandidateProcesses, type Command } from '../candidate-processes.js';
import type { Addresses, CandidateSpec, FinalReport, Hello, Ready, Round, RoundResult } from '../candidate-spec.js';
import { gemmFlops } from '../gemm-candidate.js';
import { modelFlops } from '../model-flops.js';
import { type BenchModel, OPTIMIZER } from '../models.js';
import { MEASURED_PROCESS, peerScript, pythonOf } from '../programs.js';
import { environmentOn, type Host, pjrtOn } from './host.js';

/**
 * Who is measured: ours with the whole step as one phase, and through the trainer's own step, whose gradients pass the host
 * on their way to a ring; PyTorch under torch.compile, with its flex_attention where sequences are packed; JAX.
 */
export const GPU_CANDIDATES = ['weft', 'weft-step', 'torch-compile', 'torch-flex', 'jax'] as const;
export type GpuCandidate = (typeof GPU_CANDIDATES)[number];

/** Whose losses are compared on small models, where compiling would take longer than anything else. */
export const AGREEMENT_CANDIDATES = ['weft', 'torch-eager', 'jax'] as const;
export type AgreementCandidate = (typeof AGREEMENT_CANDIDATES)[number];

/** What one candidate showed in one turn. */
export interface Turn {
  readonly engine: string;
  readonly tokensPerStep: number;
  readonly flopsPerStep: number;
  readonly stepSeconds: readonly number[];
  /** Of every step from the very first, warm-up included. */
  readonly losses: readonly number[];
  readonly secondsToFirstStep: number;
  readonly compileSeconds: number | undefined;
  /** As the framework's allocator counts; undefined where it does not, as on CPUs. */
  readonly peakDeviceBytes: number | undefined;
  readonly peakHostBytes: number;
}

export interface TurnOptions {
  readonly host: Host;
  readonly candidate: GpuCandidate | AgreementCandidate | 'gemm' | 'torch-gemm';
  readonly precision: Precision;
  readonly model: BenchModel;
  readonly fixture: string;
  /** For what compilers keep: the second turn of a candidate finds what its first one compiled. */
  readonly cacheDirectory: string;
  /** Where stderr goes. */
  readonly log: string;
  /** Measured steps; default: as many as take some seconds. */
  readonly steps: number | undefined;
  readonly warmup: number;
  /** When the process is killed, ms since 1970. */
  readonly deadlineMs: number;
}

/** Steps are measured for about so long. */
const MEASURED_SECONDS = 6;
const [FEWEST_STEPS, MOST_STEPS] = [5, 50];

/**
 * One candidate in a process of its own, which has the device to itself and is gone afterwards.
 * @throws Error with what the process printed last when it breaks down, or that its time was over
 */
export async function takeTurn(options: TurnOptions): Promise<Turn> {
  const processes = new CandidateProcesses([commandOf(options)]);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    processes.kill();
  }, options.deadlineMs - Date.now());
  try {
    return await converse(processes, options);
  } catch (thrown) {
    if (isLate) throw new Error('its time was over before it was done', { cause: thrown });
    throw thrown;
  } finally {
    clearTimeout(timer);
    processes.kill();
  }
}

async function converse(
  processes: CandidateProcesses,
  { candidate, precision, model, warmup, steps, host }: TurnOptions,
): Promise<Turn> {
  const receive = async <Message>(): Promise<Message> => (await processes.receive<Message>())[0] as Message;
  await receive<Hello>();
  processes.send<Addresses>({ addresses: [undefined] });
  const ready = await receive<Ready>();
  const round = async (count: number) => {
    processes.send<Round>({ steps: count });
    return receive<RoundResult>();
  };
  // The first of these may still autotune or load kernels.
  const warm = await round(Math.max(1, warmup));
  const stepSeconds = warm.stepSeconds.at(-1) ?? 1;
  const wanted = Math.round(MEASURED_SECONDS / stepSeconds);
  const measured = await round(steps ?? Math.min(MOST_STEPS, Math.max(FEWEST_STEPS, wanted)));
  processes.send({ end: true });
  const { peakBytes, peakDeviceBytes } = await receive<FinalReport>();
  const isGemm = candidate === 'gemm' || candidate === 'torch-gemm';
  return {
    engine: ready.engine,
    tokensPerStep: isGemm ? 0 : model.batchSize * model.sequenceLength,
    flopsPerStep: isGemm ? gemmFlops(precision, host.device) : modelFlops(model),
    stepSeconds: measured.stepSeconds,
    losses: isGemm ? [] : [ready.firstLoss, ...warm.losses, ...measured.losses],
    secondsToFirstStep: ready.secondsToFirstStep,
    compileSeconds: ready.compileSeconds,
    peakDeviceBytes,
    peakHostBytes: peakBytes,
  };
}

/** Seconds of a step, the median. */
export const secondsOf = ({ stepSeconds }: Turn) => median(stepSeconds);

const SCRIPT = {
  'torch-compile': 'torch_step.py',
  'torch-flex': 'torch_step.py',
  'torch-eager': 'torch_step.py',
  'torch-gemm': 'torch_gemm.py',
  jax: 'jax_step.py',
} as const;

/** Of torch_step.py. */
const MODE: Readonly<Record<string, string>> = {
  'torch-compile': 'compile',
  'torch-flex': 'flex',
  'torch-eager': 'eager',
};

function commandOf(options: TurnOptions): Command {
  const { host, candidate, precision, model, fixture, cacheDirectory, log } = options;
  const isOurs = candidate === 'weft' || candidate === 'weft-step' || candidate === 'gemm';
  const spec: CandidateSpec = {
    work: candidate === 'gemm' || candidate === 'torch-gemm' ? 'gemm' : 'train',
    device: host.device,
    ...(isOurs ? { pjrt: pjrtOn(host, `${cacheDirectory}/executables`, true) } : {}),
    model,
    optimizer: GPU_OPTIMIZER,
    precision,
    threads: host.device === 'cpu' ? 1 : 8,
    rank: 0,
    worldSize: 1,
    isDataParallel: candidate === 'weft-step',
    fixture,
    startedAtMs: Date.now(),
    mode: MODE[candidate] ?? '',
    trace: false,
  };
  const environment = {
    ...environmentOn(host),
    TORCHINDUCTOR_CACHE_DIR: `${cacheDirectory}/torch`,
    TRITON_CACHE_DIR: `${cacheDirectory}/triton`,
    JAX_COMPILATION_CACHE_DIR: `${cacheDirectory}/jax`,
    PYTHONDONTWRITEBYTECODE: '1',
  };
  if (isOurs)
    return {
      program: process.execPath,
      args: [...process.execArgv, MEASURED_PROCESS, JSON.stringify(spec)],
      environment,
      log,
    };
  const python = pythonOf(candidate === 'jax' ? 'jax' : 'torch-compile');
  return { program: python, args: [peerScript(SCRIPT[candidate]), JSON.stringify(spec)], environment, log };
}

/** So small that the losses of twenty steps stay comparable, whatever the model. */
const GPU_OPTIMIZER = { ...OPTIMIZER, learningRate: 1e-4, weightDecay: 1e-5 };
