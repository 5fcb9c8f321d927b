export {
  type ClusterLocation,
  type FoundCoordinator,
  findCoordinator,
  noCoordinator,
  requireCoordinator,
} from './find-coordinator.js';
export { chooseRun, type FoundRun, listRuns, withRun } from './find-run.js';
export { describeRun, type FollowOptions, followRun, type RunObserver } from './follow-run.js';
export { type Destination, QueueClient, type QueuedView, type QueueView } from './queue-client.js';
export { listRunIds, readMetrics, readRun, readRuns, type UnreadableRun } from './run-files.js';
export {
  eventsFile,
  loadRunRecords,
  logsInFiles,
  noSuchRun,
  type ReadLog,
  readRunRecords,
  withLogs,
} from './run-logs.js';
export { readAllMetrics, readRecentMetrics } from './run-metrics.js';
export { firstAndLastLoss, median, type ProgressView, RunProgress } from './run-progress.js';
export { readRunState } from './run-state-file.js';
export { RunsClient, type RunUpdate } from './runs-client.js';
export { SweepsClient, type SweepView } from './sweeps-client.js';
