export {
  type DriverResult,
  driveRuns,
  type FollowedRun,
  isSettled,
  readRuns,
  refuseFailures,
  type SweepPort,
} from './drive-runs.js';
export { FIGURES, figureGrid } from './figures.js';
export { drivenGrid, writeGridFiles } from './grid-files.js';
export {
  type GridOutline,
  type GridPlan,
  type GridSettings,
  type PlannedGridRun,
  planGrid,
  renamed,
} from './grid-plan.js';
export { type GridRun, gridRunJson, readGridRun } from './grid-run.js';
export { bestMean, gridCells, valueText } from './grid-summary.js';
export { metricOf, metricWords, type SweepSummary, summariseSweep } from './summarise-sweep.js';
export { drivenSweep, readSweepRun, type SweepResult } from './sweep-driver.js';
export { writeSweepFiles } from './sweep-files.js';
export { type PlannedRun, planSweep, type SweepPlan } from './sweep-plan.js';
export {
  type AnyRecord,
  childRunId,
  gridRecord,
  isGridRecord,
  parseSweepRecord,
  type RecordedRun,
  runsOfGrid,
  runsOfSweep,
  sweepRecord,
} from './sweep-record.js';
export { type SweepRun, sweepRun, sweepRunJson } from './sweep-run.js';
