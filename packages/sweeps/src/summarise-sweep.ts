import { plural, WeftError } from '@weft/common';
import type { SweepConfig } from '@weft/config';
import {
  FEWEST_SCALES,
  type FitReport,
  FORMS,
  type GridPoint,
  LOSS,
  type Metric,
  type Optimum,
  optimaOfGrid,
  type Prediction,
  predict,
  reportOnGrid,
} from '@weft/scaling';
import type { SweepOutline } from './sweep-plan.js';
import type { SweepRun } from './sweep-run.js';

const form = FORMS['eta-n'];

/** The result of a sweep. JSON-serialisable except for the refusal. */
export interface SweepSummary {
  /** Null when the runs determine no law, or there are too few scales for one. */
  readonly report: FitReport | null;
  /** Why the runs determine no law. */
  readonly refusal: WeftError | undefined;
  /** The best rate of every scale. */
  readonly optima: readonly Optimum[];
  readonly predictions: readonly Prediction[];
}

/** Fits a law to the runs of a sweep, once all have ended; with fewer than three scales it only finds their optima. */
export function summariseSweep(plan: SweepOutline, runs: readonly SweepRun[]): SweepSummary {
  const grid = runs.map(gridPoint);
  try {
    const metric = metricOf(plan.sweep);
    const optima = optimaOfGrid(grid, form, { metric });
    if (plan.sweep.scales.length < FEWEST_SCALES) return { report: null, refusal: undefined, optima, predictions: [] };
    const report = reportOnGrid(grid, { name: plan.sweep.name, form, source: sourceOf(plan), metric });
    const predictions = plan.predictions.map(({ params, tokens }) => predict(report.law, { params, tokens }));
    return { report, refusal: undefined, optima, predictions };
  } catch (thrown) {
    return { report: null, refusal: hintToRepeat(WeftError.from(thrown)), optima: [], predictions: [] };
  }
}

/** A point of the grid; a run without a score counts as worse than every other. */
function gridPoint({ planned: { params, tokens, learningRate }, score }: SweepRun): GridPoint {
  return { params, tokens, value: learningRate, score };
}

/** The metric by which runs are compared. Every kind of loss is named `loss`. */
export function metricOf({ metric, higherIsBetter }: Pick<SweepConfig, 'metric' | 'higherIsBetter'>): Metric {
  const isLoss = metric === 'trainingLoss' || metric.startsWith('heldOutLoss');
  return { name: isLoss ? LOSS.name : metric, better: higherIsBetter ? 'higher' : 'lower' };
}

/** "held-out loss of the source text" */
export function metricWords({ metric, lastSteps }: Pick<SweepConfig, 'metric' | 'lastSteps'>): string {
  const [group, field, shots] = metric.split('.');
  if (group === 'eval') {
    const what = { average: 'mean of the tasks with images', textAverage: 'mean of the tasks without images' }[
      field ?? ''
    ];
    return `${shots}-shot ${what ?? `score of the task ${field}`}`;
  }
  if (group !== 'heldOutLoss')
    return `mean ${metric === 'trainingLoss' ? 'training loss' : metric} of the last ${plural(lastSteps, 'step')}`;
  return field === undefined ? 'held-out loss, weighted by the mixture' : `held-out loss of the source ${field}`;
}

function sourceOf({ id, sweep, runs }: SweepOutline): string {
  return `the sweep ${id}: ${sweep.scales.length} scales, ${runs.length} runs, by ${metricWords(sweep)}`;
}

function hintToRepeat(error: WeftError): WeftError {
  const again = 'run the command again: runs that have finished are not repeated';
  // Several scales have a hint each, in the list that is the message.
  if (error.hint === undefined)
    return new WeftError(error.code, `${error.message}\nChange the file, and ${again}.`, { cause: error });
  return new WeftError(error.code, error.message, { hint: `${error.hint}, and ${again}`, cause: error });
}
