// The rewriting passes one by one, for backends to prove that each leaves the results as they are.
export { adamLoops } from './adam-loops.js';
export { bf16Matmuls } from './bf16-matmuls.js';
export { bf16Softmax } from './bf16-softmax.js';
export { columnSums } from './column-sums.js';
export { dropDeadOps } from './drop-dead-ops.js';
export { dropNoOpCasts } from './drop-no-op-casts.js';
export { loops } from './loops.js';
export { mergeEqualOps } from './merge-equal-ops.js';
export { movesInBf16 } from './moves-in-bf16.js';
export { recompute } from './recompute.js';
export { resultsFirst } from './results-first.js';
export { sigmoidGates } from './sigmoid-gates.js';
export { sumsOfSquares } from './sums-of-squares.js';
export { swappedHalves } from './swapped-halves.js';
export { vectorProducts } from './vector-products.js';
