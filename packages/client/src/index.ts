/** @public for pages and exports */
export { readCurve, readCurves, readRows } from './curves.js';
export {
  type FoundCoordinator,
  findCoordinator,
  noCoordinator,
  requireCoordinator,
} from './find-coordinator.js';
export { chooseRun, listRuns, withRun } from './find-run.js';
export { describeRun, followRun, type RunObserver } from './follow-run.js';
export { MetricsColumns } from './metrics-columns.js';
export {
  type LogLevel,
  type LogLine,
  parseLogLine,
  processLogFiles,
  type RunLogLine,
  RunLogs,
} from './process-logs.js';
export { type Destination, QueueClient, type QueuedView, type QueueView } from './queue-client.js';
export { listRunIds, readMetrics, readRun } from './run-files.js';
export {
  loadRunRecords,
  readRunRecords,
  withLogs,
} from './run-logs.js';
export { readAllMetrics, readGoodput, readProgress } from './run-metrics.js';
export { firstAndLastLoss, type ProgressView, RunProgress } from './run-progress.js';
export { RunRows } from './run-rows.js';
export { loadLedgerOverview, readRunState } from './run-state-file.js';
export { RunsClient } from './runs-client.js';
export { SweepsClient } from './sweeps-client.js';
