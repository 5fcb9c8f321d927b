export { type AutomaticRate, automaticLaw } from './complete.js';
export { fileLayer, parseConfigText } from './config-file.js';
export { type ConfigLayer, mergeLayers } from './layers.js';
export { resolveLayers, resolveRunConfig } from './resolve.js';
export { allowsMesh } from './rules.js';
export {
  AUTOMATIC_MESH,
  BYTE_VOCABULARY_SIZE,
  type ConnectorConfig,
  type DataConfig,
  DEFAULT_QUEUE,
  DEFAULT_SOURCE_KINDS,
  type DecoderConfig,
  DROPLESS,
  type EngineConfig,
  hasDefaultSources,
  type LearningRateSource,
  type ModelConfig,
  type MoeConfig,
  meshSize,
  ONE_DEVICE,
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
  loadSweepFile,
  resolveSweep,
  type SweepConfig,
  type SweepMetric,
} from './sweep-config.js';
