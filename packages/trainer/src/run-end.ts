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

export function outcomeOf({ steps }: RunConfig, done: number): TrainOutcome {
  return { outcome: done >= steps ? 'finished' : 'stopped', step: done };
}
