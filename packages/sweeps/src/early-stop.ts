/** The losses of a run, step 1 first; null where a loss was not finite. */
export type Losses = readonly (number | null)[];

export interface EarlyStopRule {
  /** Not before this part of the run's steps. */
  readonly afterPart: number;
  /** The loss is this part above the best sibling's at the same step. */
  readonly worseBy: number;
}

/** A run that has come so far may as well finish. */
const NEARLY_DONE = 0.9;

/** Steps whose mean is compared: one step's loss is mostly chance. */
const WINDOW = 5;

/**
 * Why a run should be given up: its last losses are not finite, or it is far behind the best of its siblings at the
 * same step. Undefined while it may still win.
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
