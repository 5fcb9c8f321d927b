import type { RunConfig } from '@weft/config';
import type { TrainOutcome, TrainSignals } from './ports.js';

/** Whether nothing is left to do after step `done`: the run's last one, or the one it was asked to stop after. */
export function isOver({ steps }: RunConfig, { stop }: TrainSignals, done: number): boolean {
  return done >= steps || (stop.afterStep !== undefined && done >= stop.afterStep);
}

/** Whether the state after step `done` is saved. */
export function isSaved(config: RunConfig, signals: TrainSignals, done: number): boolean {
  return done % config.checkpoint.everySteps === 0 || isOver(config, signals, done);
}

/** Whether the held-out loss is measured after this step. */
export function isEvaluated({ evaluation, steps }: RunConfig, step: number): boolean {
  const { everySteps, sequencesPerSource } = evaluation;
  if (sequencesPerSource === 0) return false;
  return step >= steps || (everySteps > 0 && step % everySteps === 0);
}

export function outcomeOf({ steps }: RunConfig, done: number): TrainOutcome {
  return { outcome: done >= steps ? 'finished' : 'stopped', step: done };
}
