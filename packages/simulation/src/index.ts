export {
  DISASTERS,
  type Disaster,
  type Scenario,
  type ScenarioLine,
  type ScenarioResult,
  simulateScenario,
} from './scenario.js';
export { SimulatedCluster, type SimulatedLaunch } from './simulated-cluster.js';
export type { SimulatedRun } from './simulated-worker.js';
export { applyEvent, type SimulationEvent } from './simulation-events.js';
