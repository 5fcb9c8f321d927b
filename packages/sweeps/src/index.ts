export { metricOf, metricWords, refuseFailures, type SweepSummary, summariseSweep } from './summarise-sweep.js';
export { driveSweep, readRuns, type SweepPort, type SweepResult } from './sweep-driver.js';
export { writeSweepFiles } from './sweep-files.js';
export { type PlannedRun, planSweep, type SweepPlan } from './sweep-plan.js';
export { parseSweepRecord, recordedRuns, type SweepRecord, sweepRecord } from './sweep-record.js';
export { isSettled, type SweepRun, sweepRun, sweepRunJson } from './sweep-run.js';
