export { fileLayer, loadConfigFile, parseConfigText } from './config-file.js';
export { DEFAULT_EVALUATION, type EvaluationConfig } from './evaluation-config.js';
export type { FieldPath } from './fields.js';
export { type ConfigLayer, mergeLayers } from './layers.js';
export { type AutomaticRate, automaticLaw, type LearningRateSource } from './learning-rate-source.js';
export { DROPLESS, type MoeConfig } from './moe-config.js';
export { DEFAULT_QUEUE, type QueueConfig } from './queue-config.js';
export { resolveLayers, resolveRunConfig } from './resolve.js';
export {
  BACKENDS,
  type Backend,
  BYTE_VOCABULARY_SIZE,
  type CheckpointConfig,
  CONNECTOR_KINDS,
  type ConnectorConfig,
  type ConnectorKind,
  type DataConfig,
  type DecoderConfig,
  DEFAULT_SOURCE_KINDS,
  type EngineConfig,
  hasDefaultSources,
  MAX_IMAGES_PER_SEQUENCE,
  type ModelConfig,
  type OptimizerConfig,
  PRECISIONS,
  type Precision,
  type RunConfig,
  type RunConfigInput,
  type SourceKind,
  type VisionConfig,
} from './run-config.js';
export { applySettings, settingLayers } from './settings.js';
export {
  type EarlyStop,
  loadSweepFile,
  resolveSweep,
  SWEEP_METRICS,
  type SweepConfig,
  type SweepMetric,
  type SweepScale,
} from './sweep-config.js';
