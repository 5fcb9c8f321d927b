import type { Precision } from '@weft/config';
import type { ModelName } from './models.js';

/** One comparison: all candidates do the same work with the same resources. */
export interface BenchCase {
  readonly model: ModelName;
  readonly precision: Precision;
  /** Threads of each process. */
  readonly threads: number;
  /** Data-parallel processes; each takes a batch of its own. */
  readonly processes: number;
}

/**
 * Who takes part: ours; beside data-parallel cases ours in one process, and ours in as many processes that know nothing
 * of each other, which is the most that the machine allows; ours with every product in its usual form; ours of another checkout; beside text alone the decoder without the
 * rest of the model; the peers; and the matrix products that set the scale, our
 * engine's and PyTorch's.
 */
export const PEERS = ['torch-eager', 'torch-compile', 'torch-ddp', 'jax'] as const;
export type Peer = (typeof PEERS)[number];
const OURS = ['weft', 'weft-alone', 'weft-apart', 'weft-decoder', 'weft-fixed'] as const;
export type CandidateName = (typeof OURS)[number] | 'weft-before' | Peer | 'gemm' | 'torch-gemm';

export interface PlanOptions {
  readonly models: readonly ModelName[];
  readonly precisions: readonly Precision[];
  readonly threads: readonly number[];
  readonly processes: readonly number[];
}

/** All cases, models outermost. Data-parallel ones only where every process has its threads' cores to itself. */
export function planCases({ models, precisions, threads, processes }: PlanOptions, cores: number): BenchCase[] {
  return models
    .flatMap((model) =>
      processes.flatMap((count) =>
        threads.flatMap((each) =>
          precisions.map((precision) => ({ model, precision, threads: each, processes: count })),
        ),
      ),
    )
    .filter(({ processes, threads }) => processes === 1 || processes * threads <= cores);
}

/** Others of ours that a person asks for. */
export interface OtherOurs {
  /** Another checkout. How well processes scale is then left out, which takes as long again. */
  readonly hasBefore?: boolean;
  /** Every product in its usual form. */
  readonly hasFixed?: boolean;
}

/** Who runs in a case, ours first. */
export function candidatesOf(
  { model, processes }: BenchCase,
  peers: readonly Peer[],
  { hasBefore = false, hasFixed = false }: OtherOurs = {},
): CandidateName[] {
  const fitting: readonly Peer[] = processes > 1 ? ['torch-ddp'] : ['torch-eager', 'torch-compile', 'jax'];
  const invited = fitting.filter((peer) => peers.includes(peer));
  return [
    'weft',
    ...(hasBefore ? ['weft-before' as const] : []),
    ...(hasFixed ? ['weft-fixed' as const] : []),
    ...(processes > 1 && !hasBefore ? (['weft-alone', 'weft-apart'] as const) : []),
    ...(processes === 1 && model === 'mm1-tiny-text' ? (['weft-decoder'] as const) : []),
    ...invited,
    'gemm',
    ...(invited.some((peer) => peer !== 'jax') ? ['torch-gemm' as const] : []),
  ];
}

/** Whether a candidate trains through our engine. */
export function isOurs(candidate: CandidateName): boolean {
  return OURS.some((each) => each === candidate);
}

/** Whether a candidate only multiplies matrices. */
export function isGemm(candidate: CandidateName): boolean {
  return candidate === 'gemm' || candidate === 'torch-gemm';
}

/** The order within a round: A B C, then B C A, and so on, so that none always runs after the same neighbour. */
export function rotated<T>(candidates: readonly T[], round: number): readonly T[] {
  const shift = round % Math.max(1, candidates.length);
  return [...candidates.slice(shift), ...candidates.slice(0, shift)];
}
