import type { PerSource, SourceId } from '@weft/common';
import type { DivergenceConfig } from '@weft/config';

/** A number of a step that is far over what the steps before lead one to expect. */
export interface Spike {
  readonly of: 'loss' | 'gradNorm';
  /** The source whose loss it is; absent: of the whole step. */
  readonly source?: SourceId;
  readonly value: number;
  /** The greatest value that would not have been a spike. */
  readonly bound: number;
}

/** What a run remembers of its last steps, in order to tell a spike from noise. */
export interface RecentSteps {
  /** The losses of the last steps that were applied and no spikes, oldest first. */
  readonly losses: readonly number[];
  /** The gradient norms of the same steps. */
  readonly gradNorms: readonly number[];
  /** By source, the last losses in those of the steps that had text of it; absent: nothing is known of sources. */
  readonly sourceLosses?: PerSource<readonly number[]>;
  /** The first step of the spike that still lasts; null: the last step was none. */
  readonly spikingSince: number | null;
}

export const NO_STEPS: RecentSteps = { losses: [], gradNorms: [], spikingSince: null };

/** So many steps are remembered. */
const WINDOW = 100;
/** With fewer their spread says little: the first steps of a run change fast. */
const FEWEST_STEPS = 30;
/** Then a loss of so many times the greatest before is a spike all the same, for a run may diverge in its second step. */
const EARLY_RISE = 2;
/** The median absolute deviation of a normal distribution is its standard deviation divided by this. */
const DEVIATIONS_PER_MAD = 1.4826;
/**
 * Noise is never taken for smaller: a loss that hardly varies may still rise by a twentieth, that of one
 * source, with fewer tokens, by a fifth, a norm to twice the usual.
 */
const LEAST_RISE = { loss: 1.05, gradNorm: 2, sourceLoss: 1.2 };

/**
 * Whether a step is a spike: its loss or the logarithm of its gradient norm, or its loss on one source, lies `threshold` robust standard deviations
 * (1.4826 × the median absolute deviation) over the median of the last steps. In the first steps of a run a loss of twice the
 * greatest before is one.
 */
export function findSpike(
  recent: RecentSteps,
  step: Measured,
  { threshold }: Pick<DivergenceConfig, 'threshold'>,
): Spike | undefined {
  if (recent.losses.length === 0) return undefined;
  if (recent.losses.length < FEWEST_STEPS) {
    const bound = EARLY_RISE * Math.max(...recent.losses);
    return step.loss > bound && bound > 0 ? { of: 'loss', value: step.loss, bound } : undefined;
  }
  const bounds = {
    loss: boundOf(recent.losses, threshold, LEAST_RISE.loss),
    gradNorm: Math.exp(boundOf(recent.gradNorms.map(Math.log), threshold, 1)),
  };
  bounds.gradNorm = Math.max(bounds.gradNorm, LEAST_RISE.gradNorm * median(recent.gradNorms));
  for (const of of ['loss', 'gradNorm'] as const)
    if (Number.isFinite(step[of]) && step[of] > bounds[of]) return { of, value: step[of], bound: bounds[of] };
  return findSourceSpike(recent, step, threshold);
}

/** A source whose loss rises is hidden in the mean of all when its share is small, and nothing of it is sound all the same. */
function findSourceSpike(
  { sourceLosses = {} }: RecentSteps,
  { sourceLoss = {} }: Measured,
  threshold: number,
): Spike | undefined {
  for (const [source, value] of Object.entries(sourceLoss)) {
    const losses = sourceLosses[source] ?? [];
    if (losses.length < FEWEST_STEPS || !Number.isFinite(value)) continue;
    const bound = boundOf(losses, threshold, LEAST_RISE.sourceLoss);
    if (value > bound) return { of: 'loss', source, value, bound };
  }
  return undefined;
}

/** What the votes say of a step. */
interface Measured {
  readonly loss: number;
  readonly gradNorm: number;
  readonly sourceLoss?: PerSource<number> | undefined;
}

function boundOf(values: readonly number[], threshold: number, leastRise: number): number {
  const middle = median(values);
  const deviation = DEVIATIONS_PER_MAD * median(values.map((value) => Math.abs(value - middle)));
  return Math.max(middle + threshold * deviation, middle > 0 ? leastRise * middle : middle);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/**
 * The memory after one more step. A spike is not remembered, so that a long one does not become usual. One that lasts as
 * long as the window is the new level: the memory begins again.
 */
export function remember(
  recent: RecentSteps,
  { step, loss, gradNorm, applied, sourceLoss }: StepFacts,
  spike: Spike | undefined,
): RecentSteps {
  if (spike !== undefined) {
    const spikingSince = recent.spikingSince ?? step;
    return step - spikingSince + 1 >= WINDOW ? NO_STEPS : { ...recent, spikingSince };
  }
  // A step without finite gradients is neither a spike nor the end of one.
  if (!applied || gradNorm === null) return recent;
  return {
    losses: [...recent.losses, loss].slice(-WINDOW),
    gradNorms: [...recent.gradNorms, gradNorm].slice(-WINDOW),
    ...(sourceLoss === undefined ? {} : { sourceLosses: withLosses(recent.sourceLosses ?? {}, sourceLoss) }),
    spikingSince: null,
  };
}

function withLosses(before: PerSource<readonly number[]>, losses: PerSource<number>): PerSource<readonly number[]> {
  const added = Object.entries(losses).map(([source, loss]) => [
    source,
    [...(before[source] ?? []), loss].slice(-WINDOW),
  ]);
  return { ...before, ...Object.fromEntries(added) };
}

interface StepFacts {
  readonly step: number;
  readonly loss: number;
  readonly gradNorm: number | null;
  readonly applied: boolean;
  readonly sourceLoss?: PerSource<number> | undefined;
}

/** The step since which a run has diverged: a spike has lasted for `patienceSteps`. */
export function divergedSince({ recent: { spikingSince }, step, config }: DivergingRun): number | undefined {
  if (spikingSince === null || step - spikingSince + 1 < config.divergence.patienceSteps) return undefined;
  return spikingSince;
}

interface DivergingRun {
  readonly recent: RecentSteps;
  readonly step: number;
  readonly config: { readonly divergence: DivergenceConfig };
}

/** Steps in a row without finite gradients that make the update before them suspect too. */
const SUSPICIOUS_STREAK = 3;

/** Which checkpoints of a run may hold a broken model, and why. */
export interface Unhealthy {
  /** The step of the first of them. */
  readonly fromStep: number;
  /** One sentence without its full stop. */
  readonly reason: string;
}

/**
 * The checkpoints that must not be used without a person's word: those saved within a streak of skipped steps or after the
 * run diverged. The update before may have broken the model, so its checkpoint counts among them.
 */
export function findUnhealthy(run: DivergingRun & { readonly skippedInARow: number }): Unhealthy | undefined {
  const { step, skippedInARow } = run;
  const found: Unhealthy[] = [];
  if (skippedInARow > 0) {
    const first = step - skippedInARow + 1;
    const fromStep = skippedInARow >= SUSPICIOUS_STREAK ? first - 1 : first;
    found.push({ fromStep, reason: `the steps from ${first} on were skipped` });
  }
  const since = divergedSince(run);
  if (since !== undefined) found.push({ fromStep: since - 1, reason: `the run has diverged since step ${since}` });
  return found.toSorted((a, b) => a.fromStep - b.fromStep).find(({ fromStep }) => fromStep >= 0);
}

/** "its loss of 25,201 in step 900 is over 3.21": one sentence without its full stop. */
export function describeSpike({ of, source, value, bound }: Spike, step: number): string {
  const ofSource = source === undefined ? '' : ` on ${source}`;
  const what = of === 'loss' ? `loss${ofSource}` : 'gradient norm';
  return `the ${what} of step ${step} is ${shortNumber(value)}, and up to ${shortNumber(bound)} was to be expected`;
}

const shortNumber = (value: number) => Number(value.toPrecision(4)).toString();
