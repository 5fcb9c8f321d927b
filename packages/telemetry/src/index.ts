export { CoordinatorMetrics } from './coordinator-metrics.js';
export type { MetricDeclaration } from './declare-metric.js';
export { createLogger, type Logger } from './logger.js';
export { COORDINATOR_METRICS, RUN_METRICS, WORKER_METRICS } from './metrics.js';
export type { RunMetrics, RunSnapshot } from './run-metrics.js';
export { type MetricsServer, serveMetrics } from './serve-metrics.js';
export { processNowMs, type RecordedSpan, SpanRecorder } from './span-recorder.js';
export { WorkClock } from './work-clock.js';
export { WorkerMetrics } from './worker-metrics.js';
