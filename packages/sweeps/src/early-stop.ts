import { NEIGHBOURS } from '@weft/scaling';

/** The losses of a run, step 1 first; null where a loss was not finite. */
export type Losses = readonly (number | null)[];

/** When a run is stopped early. */
export interface EarlyStopRule {
  /** The part of the run's steps before which it is not stopped, 0 to 1. */
  readonly afterPart: number;
  /** How far the loss must be above the best sibling's at the same step, as a part of it. */
  readonly worseBy: number;
}

/** After this part of its steps a run is left to finish. */
const NEARLY_DONE = 0.9;

/** Steps whose mean is compared: one step's loss is mostly chance. */
const WINDOW = 5;

/** A run of a scale, at one of its rates. */
export interface Contender {
  readonly learningRate: number;
  readonly losses: Losses;
}

/**
 * Why a run should be stopped early: its last losses are not finite, or its loss is far above the best of its siblings at
 * the same step. Undefined while it may still win, and for the rates next to the best one: the parabola through them is how
 * the best rate is found.
 *
 * @param siblings runs of the same scale at other rates, finished or not
 */
export function earlyStopReason(
  run: Contender,
  steps: number,
  siblings: readonly Contender[],
  { afterPart, worseBy }: EarlyStopRule,
): string | undefined {
  const { losses } = run;
  const step = losses.length;
  if (step < WINDOW) return undefined;
  if (losses.slice(-WINDOW).every((loss) => loss === null)) return `its loss has not been finite for ${WINDOW} steps`;
  if (step < afterPart * steps || step > NEARLY_DONE * steps) return undefined;
  const own = recentMean(losses, step);
  const comparable = siblings.filter((each) => each.losses.length >= step);
  const means = comparable.map((each) => recentMean(each.losses, step));
  const best = Math.min(...means);
  const winner = comparable[means.indexOf(best)];
  if (winner === undefined || !(own > best * (1 + worseBy)) || isNextTo(winner, run, siblings)) return undefined;
  const difference = Math.round(100 * (own / best - 1));
  return `at step ${step} its loss is ${Number.isFinite(own) ? `${difference} % ` : 'far '}above the best of its scale`;
}

/** Whether the fit of the optimum around one run needs another: so few rates lie between them. */
function isNextTo(winner: Contender, run: Contender, siblings: readonly Contender[]): boolean {
  const [low, high] = [winner.learningRate, run.learningRate].toSorted((a, b) => a - b);
  const between = siblings.filter(({ learningRate }) => learningRate > low! && learningRate < high!);
  return new Set(between.map(({ learningRate }) => learningRate)).size < NEIGHBOURS;
}

/** The mean over the window that ends at a step; infinite when a loss there was not finite. */
function recentMean(losses: Losses, step: number): number {
  const window = losses.slice(Math.max(0, step - WINDOW), step);
  return window.reduce<number>((sum, loss) => sum + (loss ?? Number.POSITIVE_INFINITY), 0) / window.length;
}
