export {
  type FoundCoordinator,
  findCoordinator,
  noCoordinator,
  requireCoordinator,
} from './find-coordinator.js';
export { chooseRun, listRuns, withRun } from './find-run.js';
export { describeRun, followRun, type RunObserver } from './follow-run.js';
export { type Destination, QueueClient, type QueuedView, type QueueView } from './queue-client.js';
export { listRunIds, readMetrics, readRun } from './run-files.js';
export {
  loadRunRecords,
  readRunRecords,
  withLogs,
} from './run-logs.js';
export { readAllMetrics, readRecentMetrics } from './run-metrics.js';
export { firstAndLastLoss, type ProgressView, RunProgress } from './run-progress.js';
export { RunsClient } from './runs-client.js';
export { SweepsClient } from './sweeps-client.js';
