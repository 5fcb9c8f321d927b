export { CoordinatorMetrics } from './coordinator-metrics.js';
export { createLogger, type Logger } from './logger.js';
export { serveMetrics } from './serve-metrics.js';
export { WorkerMetrics } from './worker-metrics.js';
