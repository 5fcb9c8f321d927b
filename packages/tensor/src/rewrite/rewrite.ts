import type { Recording } from '../recording.js';
import { bf16Matmuls, bf16Softmax, float32Gradients, sinkCasts } from './bf16.js';
import { sumsOfSquares, sumToMatmul, vectorProducts } from './cheaper-sums.js';
import type { Pass } from './edit.js';
import { expandAttention } from './expand-attention.js';
import { fuseAdam } from './fuse-adam.js';
import { fuseElementwise } from './fuse-elementwise.js';
import { concatToRoll, fuseSigmoidMul } from './fuse-pairs.js';
import { type Recompute, recompute } from './recompute.js';
import { dropDeadOps, dropNoOpCasts, mergeEqualOps } from './redundant-ops.js';
import { scheduleOutputsEarly } from './schedule-outputs-early.js';
/** Arithmetic of the matrix products: float32, or bfloat16 operands over float32 weights. */
export type Precision = 'fp32' | 'bf16';

/** What a backend wants of the passes. */
export interface RewriteOptions {
  /** Of the matrix products. */
  readonly precision: Precision;
  /** What the backward pass computes again instead of keeping it. */
  readonly recompute: Recompute;
  /** Whether the device computes loops that XLA compiles. */
  readonly hasLoops: boolean;
}

/** All passes in their order: what removes comes first, so that the later ones see less; what orders comes last. */
export function rewrite(recording: Recording, { precision, recompute: mode, hasLoops }: RewriteOptions): Recording {
  const inOrder: readonly Pass[] = [
    expandAttention(),
    dropNoOpCasts,
    fuseSigmoidMul,
    concatToRoll,
    sumsOfSquares,
    sumToMatmul,
    vectorProducts,
    mergeEqualOps,
    dropDeadOps,
    ...(precision === 'bf16' ? [bf16Matmuls, bf16Softmax, sinkCasts] : []),
    recompute(mode),
    ...(hasLoops ? [fuseElementwise, fuseAdam] : []),
    scheduleOutputsEarly,
  ];
  return inOrder.reduce((rewritten, pass) => pass(rewritten), recording);
}

/** The passes one by one, with which a backend tests that each leaves the results as they are. */
export const passes = {
  expandAttention,
  dropNoOpCasts,
  fuseSigmoidMul,
  concatToRoll,
  sumsOfSquares,
  sumToMatmul,
  vectorProducts,
  mergeEqualOps,
  dropDeadOps,
  bf16Matmuls,
  bf16Softmax,
  float32Gradients,
  sinkCasts,
  recompute,
  fuseElementwise,
  fuseAdam,
  scheduleOutputsEarly,
};
