export { type Batch, type BatchField, batchSpecs } from './batch.js';
export { cachedDecoderBlocks, cacheSpec, type KeyValueCache } from './cached-decoder.js';
export { connectorParameters } from './connector.js';
export {
  CONTRAST_STATS,
  contrast,
  contrastiveParameters,
  contrastWithin,
  LOG_SCALE,
  type PairBatch,
  pairFeatures,
  pairNormalisers,
} from './contrast.js';
export { decoder, decoderInput, decoderParameters, nextTokenLogits } from './decoder.js';
export { imageTokens, lossParts } from './loss.js';
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
  localExperts,
} from './moe/experts.js';
export { MoeLayers } from './moe/moe-layers.js';
export { moeLayerIndices, moeShape } from './moe/moe-shape.js';
export { decodeMoeStats, moeStatsLength } from './moe/moe-stats.js';
export { withoutJitter } from './moe/router.js';
export { takeRows } from './ops.js';
export { type ParameterSpec, type Parameters, scope } from './parameters.js';
export { predictedPatches, reconstructionLoss, reconstructionParameters } from './reconstruction.js';
export { canResizePositions, resizePositions } from './resize-positions.js';
export { visionEncoder, visionEncoderParameters } from './vision-encoder.js';
