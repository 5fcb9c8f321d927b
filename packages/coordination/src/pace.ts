import type { RunConfig } from '@weft/config';
import type { Pace } from './cluster-state.js';

/** Milliseconds a step took of late, by the work that a step is. */
export type Paces = ReadonlyMap<string, number>;

/** How many kinds of work are remembered; the oldest are forgotten. */
const REMEMBERED = 200;

/** The pace after one more committed step. */
export function paceAfter(pace: Pace | undefined, step: number, nowMs: number): Pace {
  return { firstStep: pace?.firstStep ?? step, firstMs: pace?.firstMs ?? nowMs, lastStep: step, lastMs: nowMs };
}

/** What is known of the speed of steps, with what a generation has shown; its first step says nothing. */
export function learnPace(paces: Paces, config: RunConfig, worldSize: number, pace: Pace): Paces {
  const steps = pace.lastStep - pace.firstStep;
  if (steps === 0) return paces;
  const learned = new Map(paces);
  const key = workOf(config, worldSize);
  learned.delete(key);
  learned.set(key, (pace.lastMs - pace.firstMs) / steps);
  for (const oldest of learned.keys()) if (learned.size > REMEMBERED) learned.delete(oldest);
  return learned;
}

/** Undefined where no run of the same work has committed two steps on so many workers. */
export function msPerStep(paces: Paces, config: RunConfig, worldSize: number): number | undefined {
  return paces.get(workOf(config, worldSize));
}

const works = new WeakMap<RunConfig, string>();

/** What makes a step as long as it is. */
function workOf(config: RunConfig, worldSize: number): string {
  const { model, precision, engine, globalBatchSize, microbatchSize } = config;
  const work = works.get(config) ?? JSON.stringify({ model, precision, engine, globalBatchSize, microbatchSize });
  works.set(config, work);
  return `${worldSize} × ${work}`;
}
