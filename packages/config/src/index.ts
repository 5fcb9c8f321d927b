export {
  type AutomaticRate,
  automaticLaw,
  completeData,
  completeModel,
  completeOptimizer,
  withoutLaterDefaults,
} from './complete.js';
export { fileLayer, parseConfigText } from './config-file.js';
export {
  type ChatTemplate,
  type DataConfig,
  type DatasetSettings,
  DEFAULT_CHAT_TEMPLATE,
  DEFAULT_DATASET,
  DEFAULT_IMAGES,
  DEFAULT_REMOTE,
  DEFAULT_SOURCE_KINDS,
  datasetSettings,
  hasDefaultSources,
  type ImagePreprocessing,
  isChat,
  MESSAGE_TEXT,
  type MixtureChange,
  type PerColour,
  type SourceKind,
  viewsPerPicture,
} from './data-config.js';
export {
  type EvaluationTask,
  HELD_OUT_EXAMPLES,
  type ImageTask,
  mapTaskPaths,
  type TaskKind,
  type TextTask,
} from './evaluation-tasks.js';
export {
  FIRST_RUN,
  type GridConfig,
  type GridInput,
  loadGridFile,
  resolveGrid,
} from './grid-config.js';
export { type ConfigLayer, mergeLayers } from './layers.js';
export { fitsPattern, learningRateFactor } from './learning-rate-factors.js';
export { axesOfArray, OPTIMIZER_PREFIXES, optimizerArrays } from './optimizer-arrays.js';
export { DEFAULT_QUEUE } from './queue-config.js';
export { resolveLayers, resolveRunConfig } from './resolve.js';
export { reweighted } from './reweight.js';
export { allowsMesh } from './rules.js';
export {
  ACTIVATION_CHECKPOINTING,
  AUTOMATIC_INTERVAL,
  AUTOMATIC_MESH,
  AUTOMATIC_PRECISION,
  BACKENDS,
  type Backend,
  BYTE_VOCABULARY_SIZE,
  type CheckpointConfig,
  type ConnectorConfig,
  DEFAULT_ADAFACTOR,
  DEFAULT_CHECKPOINT,
  DEFAULT_DECODER,
  DEFAULT_DIVERGENCE,
  DEFAULT_EVALUATION,
  DEFAULT_STRAGGLERS,
  type DecoderConfig,
  type DecoderVariant,
  type DivergenceConfig,
  DROPLESS,
  type EngineConfig,
  type InitialWeights,
  initialCheckpoint,
  type LearningRateSource,
  MODEL_PARTS,
  type ModelConfig,
  type ModelPart,
  type MoeConfig,
  meshSize,
  ONE_DEVICE,
  type OptimizerConfig,
  type OptimizerKind,
  PRECISIONS,
  type Precision,
  type RopeScaling,
  type RunConfig,
  type RunConfigInput,
} from './run-config.js';
export { applyResumeSettings, applySettings, settingLayers } from './settings.js';
export {
  loadSweepFile,
  resolveSweep,
  type SweepConfig,
  type SweepMetric,
} from './sweep-config.js';
export {
  type ContrastiveTaskConfig,
  DEFAULT_TASK,
  type EncoderTaskConfig,
  isEncoderTask,
  MAX_SCALE,
  type ReconstructiveTaskConfig,
  type TaskConfig,
  type TextTowerConfig,
} from './task-config.js';
export { DEFAULT_VISION, type VisionActivation, type VisionConfig, type VisionVariant } from './vision-config.js';
