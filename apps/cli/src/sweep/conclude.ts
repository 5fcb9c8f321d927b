import { WeftError } from '@weft/common';
import type { SweepConfig } from '@weft/config';
import {
  FEWEST_SCALES,
  type FitReport,
  FORMS,
  type GridPoint,
  type Optimum,
  optimumOfScale,
  type Prediction,
  predict,
  reportOnGrid,
} from '@weft/scaling';
import type { SweepPlan } from './plan.js';
import type { SweepRun } from './run-result.js';

const form = FORMS['eta-n'];

/** What a sweep came to. */
export interface Conclusion {
  /** Null when the runs do not determine a law. */
  readonly report: FitReport | null;
  /** Why there is no law; undefined where there is one. */
  readonly refusal: WeftError | undefined;
  /** The best rate of every scale that has one. */
  readonly optima: readonly Optimum[];
  readonly predictions: readonly Prediction[];
}

/** Fits a law to the runs of a sweep, once all have ended. */
export function conclude(plan: SweepPlan, runs: readonly SweepRun[]): Conclusion {
  const grid = runs.map(gridPoint);
  const optima = [...optimaThatExist(plan, grid)];
  try {
    const report = reportOnGrid(grid, { name: plan.sweep.name, form, source: sourceOf(plan) });
    const predictions = plan.predictions.map(({ params, tokens }) => predict(report.law, { params, tokens }));
    return { report, refusal: undefined, optima, predictions };
  } catch (thrown) {
    return { report: null, refusal: refusalOf(WeftError.from(thrown), plan), optima, predictions: [] };
  }
}

/** A point of the grid; a run without a score counts as worse than every other. */
export function gridPoint({ planned: { params, tokens, learningRate }, score }: SweepRun): GridPoint {
  return { params, tokens, value: learningRate, loss: score };
}

/** Failed runs are nobody's measurement: the sweep waits for them. */
export function refuseFailures(runs: readonly SweepRun[]): void {
  const failed = runs.filter(({ view }) => view.phase === 'failed');
  const [first] = failed;
  if (first === undefined) return;
  const { runId, reason } = first.view;
  throw new WeftError(
    'failed_precondition',
    `${failed.length} of ${runs.length} runs failed, ${runId} because ${reason}`,
    {
      cure: `cure the reason, then weft resume ${runId}, and run this command again`,
    },
  );
}

export const METRIC_WORDS: Readonly<Record<SweepConfig['metric'], string>> = {
  trainingLoss: 'mean training loss of the last steps',
  heldOutLoss: 'held-out loss, weighted by the mixture',
  'heldOutLoss.captioned': 'held-out loss of captioned images',
  'heldOutLoss.interleaved': 'held-out loss of interleaved documents',
  'heldOutLoss.text': 'held-out loss of text',
};

function sourceOf({ id, sweep, runs }: SweepPlan): string {
  return `the sweep ${id}: ${sweep.scales.length} scales, ${runs.length} runs, by ${METRIC_WORDS[sweep.metric]}`;
}

function* optimaThatExist({ sweep, runs }: SweepPlan, grid: readonly GridPoint[]): Iterable<Optimum> {
  for (const { name } of sweep.scales) {
    try {
      yield optimumOfScale(
        grid.filter((_, i) => runs[i]?.scale === name),
        form,
      );
    } catch {
      // The conclusion names it.
    }
  }
}

function refusalOf(error: WeftError, { sweep }: SweepPlan): WeftError {
  if (sweep.scales.length < FEWEST_SCALES)
    return new WeftError(
      'failed_precondition',
      `a law needs ${FEWEST_SCALES} scales, this sweep has ${sweep.scales.length}`,
      {
        cure: 'add scales to the file and run the command again: runs that have finished are not repeated',
      },
    );
  const cure = error.cure === undefined ? 'change the file' : error.cure;
  return new WeftError(error.code, error.message, {
    cure: `${cure}, and run the command again: runs that have finished are not repeated`,
    cause: error,
  });
}
