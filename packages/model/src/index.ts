export { type Batch, type BatchField, batchSpecs } from './batch.js';
export { decoder, decoderParameters } from './decoder.js';
export { lossParts } from './loss.js';
export { countParameters, initialValue, modelParameters, type ParameterCounts } from './model-parameters.js';
export {
  denseParameterName,
  EXPERT_MATRICES,
  expertStackName,
  isExpertStack,
  isRouter,
  parseExpertTensorName,
  type StoredTensor,
  storedTensors,
} from './moe/expert-checkpoint-names.js';
export {
  type ExpertFn,
  type ExpertRange,
  type ExpertWeights,
  expertBackward,
  expertForward,
  expertForwardWithActivations,
  expertParameters,
  expertWeightGradients,
  expertWeights,
} from './moe/experts.js';
export { MoeLayers } from './moe/moe-layers.js';
export { moeLayerIndices, moeShape } from './moe/moe-shape.js';
export { decodeMoeStats, moeStatsLength } from './moe/moe-stats.js';
export { withoutJitter } from './moe/router.js';
export { takeRows } from './ops.js';
export type { ParameterSpec } from './parameters.js';
