import type { SweepConfig } from '@weft/config';
import type { MetricsRow, RunView } from '@weft/contracts';
import type { FollowedRun } from './drive-runs.js';
import { scoreOf } from './score.js';
import type { SweepPoint } from './sweep-plan.js';

/** The current state of a run of a sweep. */
export interface SweepRun extends FollowedRun {
  readonly planned: SweepPoint;
  /** Null before it has finished, and where it has none. */
  readonly score: number | null;
  /** Why it was stopped; undefined for other runs. */
  readonly givenUp: string | undefined;
}

/** Scores a run from its metrics. */
export function sweepRun(
  planned: SweepPoint,
  view: RunView,
  metrics: readonly MetricsRow[],
  { metric, lastSteps }: Pick<SweepConfig, 'metric' | 'lastSteps'>,
): SweepRun {
  const losses = metrics.map(({ loss }) => loss);
  const isWhole = view.status === 'finished' && losses.length >= view.steps;
  const score = isWhole ? scoreOf(metrics, metric, lastSteps) : null;
  const givenUp = view.status === 'stopped' ? view.reason : undefined;
  return { planned, view, losses, score, givenUp };
}

/** A run of a sweep in the words of `--json` and of `fit.json`. */
export function sweepRunJson({ planned, view, score, givenUp }: SweepRun) {
  const { scale, params, tokens, learningRate, seed } = planned;
  const { runId, status, step } = view;
  return { runId, scale, params, tokens, learningRate, seed, status, step, score, givenUp: givenUp ?? null };
}
