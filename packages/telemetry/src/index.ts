export { CoordinatorMetrics, RUN_PHASES, type RunPhaseLabel } from './coordinator-metrics.js';
export { createLogger, LOG_LEVELS, type Logger, type LoggerOptions, type LogLevel } from './logger.js';
export { redactText } from './redact.js';
export { type MetricsServer, type ServeMetricsOptions, serveMetrics } from './serve-metrics.js';
export {
  type ServedStep,
  STEP_STAGES,
  type StepMeasurements,
  type StepStage,
  WorkerMetrics,
} from './worker-metrics.js';
