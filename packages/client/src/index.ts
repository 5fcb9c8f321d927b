export {
  type ClusterLocation,
  type FoundCoordinator,
  findCoordinator,
  noCoordinator,
  requireCoordinator,
} from './find-coordinator.js';
export { chooseRun, type FoundRun, listRuns, withRun } from './find-run.js';
export { type FollowOptions, followRun, type RunObserver, runSentence } from './follow-run.js';
export { type Destination, QueueClient, type QueuedView, type QueueView } from './queue-client.js';
export { readMetrics, readRun, readRuns, runIdsOf, type UnreadableRun } from './run-files.js';
export { eventsFile, logsInFiles, noSuchRun, type ReadLog, readRunRecords, recordsOf, withLogs } from './run-logs.js';
export { allMetrics, recentMetrics } from './run-metrics.js';
export { endsOfLoss, median, type ProgressView, RunProgress } from './run-progress.js';
export { readRunState } from './run-state-file.js';
export { RunsClient, type RunUpdate } from './runs-client.js';
export { SweepsClient, type SweepView } from './sweeps-client.js';
