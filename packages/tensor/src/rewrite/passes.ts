// The rewriting passes one by one, for backends to prove that each leaves the results as they are.

export { bf16Matmuls, bf16Softmax, sinkCasts } from './bf16.js';
export { sumsOfSquares, sumToMatmul, vectorProducts } from './cheaper-sums.js';
export { fuseAdam } from './fuse-adam.js';
export { fuseElementwise } from './fuse-elementwise.js';
export { concatToRoll, fuseSigmoidMul } from './fuse-pairs.js';
export { recompute } from './recompute.js';
export { dropDeadOps, dropNoOpCasts, mergeEqualOps } from './redundant-ops.js';
export { scheduleOutputsEarly } from './schedule-outputs-early.js';
