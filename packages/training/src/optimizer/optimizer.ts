import type { OptimizerConfig } from '@weft/config';
import { isTrained, type TaskParameter } from '@weft/tasks';
import type { PhaseContext } from '@weft/tensor';
import { adafactorApply } from './adafactor.js';
import { adamwApply, type OptimizedParameter, type OptimizerStep } from './adamw.js';

/** The parameters of a task that are trained, as the optimizer sees them. */
export function optimized(parameters: readonly TaskParameter[]): readonly OptimizedParameter[] {
  return parameters.filter(isTrained).map((parameter) => ({ ...parameter, isStack: parameter.stored.length > 1 }));
}

/** One step of the optimizer of a run: parameters and their arrays are assigned in `context`. */
export function applyOptimizer(
  context: PhaseContext,
  config: OptimizerConfig,
  parameters: readonly OptimizedParameter[],
  step: OptimizerStep,
): void {
  if (config.kind === 'adafactor') adafactorApply(context, config, parameters, step);
  else adamwApply(context, config, parameters, step);
}
