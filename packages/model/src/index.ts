export { BATCH_FIELDS, type BatchField, batchSpecs } from './batch.js';
export { countParameters, type ParameterCounts } from './count-parameters.js';
export { decoder, decoderParameters } from './decoder.js';
export { initialValue } from './initial-value.js';
export { type Batch, type LossParts, logits, lossParts, lossSum } from './loss.js';
export { modelParameters } from './model-parameters.js';
export {
  type ExpertCall,
  type ExpertRange,
  type ExpertWeights,
  expertForward,
  expertParameters,
  expertWeights,
  localExperts,
} from './moe/experts.js';
export { withoutJitter } from './moe/jitter.js';
export { type MoeShape, moeLayers, moeShape } from './moe/moe-shape.js';
export { decodeMoeSignals, moeSignalsLength } from './moe/moe-signals.js';
export { SparseLayers } from './moe/sparse-layers.js';
export { isExpertTensor, type StoredTensor, stackOf, storedTensors } from './moe/stored-tensors.js';
export { denseTwin, isRouter } from './moe/upcycling.js';
export type { Initial, ParameterSpec, Parameters } from './parameters.js';
export { takeRows } from './take-rows.js';
