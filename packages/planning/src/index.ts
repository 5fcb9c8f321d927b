export { deviceMemory } from './formulas.js';
export { memoryShortage } from './memory-shortage.js';
export {
  ASSUMED,
  changesTo,
  estimate,
  fitsCompiled,
  type Layout,
  modelFlops,
  type PlannedTime,
  type PlanTarget,
  planRun,
  type RunPlan,
  withLayout,
} from './plan-run.js';
export { processorCost, processorMemory, processorStepSeconds } from './processor-plan.js';
export { type CompiledCopy, extendToFullDepth, layersOf, shallowCopies } from './shallow-copies.js';
