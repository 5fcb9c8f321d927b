import type { Recording } from '../recording.js';
import { adamLoops } from './adam-loops.js';
import { bf16Matmuls } from './bf16-matmuls.js';
import { bf16Softmax } from './bf16-softmax.js';
import { columnSums } from './column-sums.js';
import { dropDeadOps } from './drop-dead-ops.js';
import { dropNoOpCasts } from './drop-no-op-casts.js';
import type { Pass } from './edit.js';
import { loops } from './loops.js';
import { mergeEqualOps } from './merge-equal-ops.js';
import { movesInBf16 } from './moves-in-bf16.js';
import { type Recompute, recompute } from './recompute.js';
import { resultsFirst } from './results-first.js';
import { sigmoidGates } from './sigmoid-gates.js';
import { sumsOfSquares } from './sums-of-squares.js';
import { swappedHalves } from './swapped-halves.js';
import { vectorProducts } from './vector-products.js';

/** Arithmetic of the matrix products: float32, or bfloat16 operands over float32 weights. */
export type Precision = 'fp32' | 'bf16';

export interface RewriteOptions {
  readonly precision: Precision;
  readonly recompute: Recompute;
  /** Whether the device computes loops that XLA compiles. */
  readonly hasLoops: boolean;
}

/** All passes in their order: what removes comes first, so that the later ones see less; what orders comes last. */
export function rewrite(recording: Recording, { precision, recompute: mode, hasLoops }: RewriteOptions): Recording {
  const passes: readonly Pass[] = [
    dropNoOpCasts,
    sigmoidGates,
    swappedHalves,
    sumsOfSquares,
    columnSums,
    vectorProducts,
    mergeEqualOps,
    dropDeadOps,
    ...(precision === 'bf16' ? [bf16Matmuls, bf16Softmax, movesInBf16] : []),
    recompute(mode),
    ...(hasLoops ? [loops, adamLoops] : []),
    resultsFirst,
  ];
  return passes.reduce((rewritten, pass) => pass(rewritten), recording);
}
