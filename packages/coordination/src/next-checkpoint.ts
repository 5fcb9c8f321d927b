import type { RunState } from './run-state.js';

/** The step after which every rank saves next, counted from the last committed one. */
export function nextCheckpoint({ step, config: { checkpoint, steps } }: RunState): number {
  return Math.min(steps, (Math.floor(step / checkpoint.everySteps) + 1) * checkpoint.everySteps);
}
