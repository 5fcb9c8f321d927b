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

/**
 * Why a run should be stopped early: its last losses are not finite, or its loss is far above the best of its siblings at
 * the same step. Undefined while it may still win.
 *
 * @param siblings runs of the same scale at other rates, finished or not
 */
export function earlyStopReason(
  losses: Losses,
  steps: number,
  siblings: readonly Losses[],
  { afterPart, worseBy }: EarlyStopRule,
): string | undefined {
  const step = losses.length;
  if (step < WINDOW) return undefined;
  if (losses.slice(-WINDOW).every((loss) => loss === null)) return `its loss has not been finite for ${WINDOW} steps`;
  if (step < afterPart * steps || step > NEARLY_DONE * steps) return undefined;
  const own = recentMean(losses, step);
  const best = Math.min(...siblings.filter(({ length }) => length >= step).map((each) => recentMean(each, step)));
  if (!(own > best * (1 + worseBy))) return undefined;
  const difference = Math.round(100 * (own / best - 1));
  return `at step ${step} its loss is ${Number.isFinite(own) ? `${difference} % ` : 'far '}above the best of its scale`;
}

/** The mean over the window that ends at a step; infinite when a loss there was not finite. */
function recentMean(losses: Losses, step: number): number {
  const window = losses.slice(Math.max(0, step - WINDOW), step);
  return window.reduce<number>((sum, loss) => sum + (loss ?? Number.POSITIVE_INFINITY), 0) / window.length;
}
