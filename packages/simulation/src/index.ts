export { describeReport, type SimulationReport } from './report.js';
export { type SimulationOptions, simulate } from './simulate.js';
export { INVARIANTS, type Invariant, Violation } from './violation.js';
