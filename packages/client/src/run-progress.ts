import { decimal, median, type PerSource, plural } from '@weft/common';
import { committedAtMs, hasEnded, type MetricsRow, type RunView } from '@weft/contracts';

/** Steps averaged for the speed, the time left and the trend of the loss. */
const WINDOW = 10;
/** Losses kept for the small chart. */
const CHART_POINTS = 400;

type HeldOut = NonNullable<MetricsRow['heldOut']> & { readonly step: number };

/** What the displays draw: one moment of a run. */
export interface ProgressView {
  readonly run: RunView;
  readonly latest: MetricsRow | undefined;
  /** The last evaluation of held-out sequences, and the step after which it was made. */
  readonly heldOut: HeldOut | undefined;
  /** Mean loss of the last steps minus that of the steps before them; undefined before there are enough. */
  readonly lossTrend: number | undefined;
  /** Losses, oldest first, thinned evenly when they are many. */
  readonly losses: readonly number[];
  readonly tokensPerSecond: number | undefined;
  readonly secondsPerStep: number | undefined;
  readonly etaSeconds: number | undefined;
  /** Sequences consumed so far in the steps this progress has seen. */
  readonly sequences: PerSource<number>;
  /** Whether `sequences` covers the run from its first step. */
  readonly sequencesAreWhole: boolean;
}

/** Collects the summaries and metrics of a run, and drops steps that were rolled back. */
export class RunProgress {
  #run: RunView;
  #lastWorldSize: number;
  readonly #metrics: MetricsRow[] = [];
  #sequences: PerSource<number> = {};

  constructor(run: RunView) {
    this.#run = run;
    this.#lastWorldSize = run.worldSize;
  }

  get run(): RunView {
    return this.#run;
  }

  /** Every step that was added and not rolled back, in order. */
  get metrics(): readonly MetricsRow[] {
    return this.#metrics;
  }

  /** Adds a new summary of the run; returns the events worth a line of their own. */
  updateRun(next: RunView): string[] {
    const events = eventsBetween(this.#run, next, this.#lastWorldSize);
    this.#run = next;
    if (next.worldSize > 0) this.#lastWorldSize = next.worldSize;
    return events;
  }

  /** Adds one step; returns the events worth a line of their own. */
  addStep(metrics: MetricsRow): string[] {
    this.#rollBackTo(metrics.step - 1);
    this.#metrics.push(metrics);
    this.#sequences = added(this.#sequences, metrics.sequences, 1);
    if (metrics.step > this.#run.step) this.#run = { ...this.#run, step: metrics.step };
    const wasRefused = metrics.loss === null || metrics.gradNorm === null;
    return [
      ...(wasRefused ? [`step ${metrics.step} was counted but not applied: its gradients were not finite`] : []),
      ...(metrics.heldOut === undefined
        ? []
        : [`held-out loss ${decimal(metrics.heldOut.loss)} after step ${metrics.step}`]),
    ];
  }

  view(nowMs: number): ProgressView {
    const recent = this.#metrics.slice(-WINDOW);
    const secondsPerStep = typicalStepSeconds(this.#metrics.slice(-WINDOW - 1));
    return {
      run: this.#run,
      latest: this.#metrics.at(-1),
      heldOut: lastHeldOut(this.#metrics),
      lossTrend: trend(this.#metrics),
      losses: thinned(this.#metrics),
      tokensPerSecond: mean(recent.flatMap(({ tokensPerSecond }) => tokensPerSecond ?? [])),
      secondsPerStep,
      etaSeconds: this.#etaSeconds(secondsPerStep, nowMs),
      sequences: this.#sequences,
      sequencesAreWhole: this.#metrics[0]?.step === 1,
    };
  }

  #etaSeconds(secondsPerStep: number | undefined, nowMs: number): number | undefined {
    const latest = this.#metrics.at(-1);
    const steps = this.#run.steps - this.#run.step;
    if (latest === undefined || secondsPerStep === undefined || steps <= 0 || hasEnded(this.#run)) return undefined;
    const left = steps * secondsPerStep;
    const sinceLatest = Math.min(Math.max(0, (nowMs - committedAtMs(latest)) / 1000), secondsPerStep);
    return Math.max(0, left - sinceLatest);
  }

  #rollBackTo(step: number): void {
    for (let last = this.#metrics.at(-1); last !== undefined && last.step > step; last = this.#metrics.at(-1)) {
      this.#sequences = added(this.#sequences, last.sequences, -1);
      this.#metrics.pop();
    }
  }
}

/** Adds the sequences of a step, or takes them away. */
function added(sequences: PerSource<number>, ofStep: PerSource<number>, sign: 1 | -1): PerSource<number> {
  const sums = new Map(Object.entries(sequences));
  for (const [source, count] of Object.entries(ofStep)) sums.set(source, (sums.get(source) ?? 0) + sign * count);
  return Object.fromEntries(sums);
}

/**
 * The changes between two summaries that a watcher wants to read.
 *
 * @param lastWorldSize of the last ring; between two rings a run has worldSize 0
 */
function eventsBetween(before: RunView, after: RunView, lastWorldSize: number): string[] {
  const events: string[] = [];
  if (after.status === 'running' && before.worldSize > 0 && after.worldSize === 0) events.push(after.reason);
  if (after.generation > before.generation && before.generation > 0) {
    const change = lastWorldSize === 0 ? 0 : after.worldSize - lastWorldSize;
    const what = change < 0 ? 'worker lost, ' : change > 0 ? 'worker joined, ' : '';
    events.push(`${what}generation ${after.generation} with ${plural(after.worldSize, 'worker')}`);
  }
  if (after.status !== before.status && (after.status === 'queued' || after.status === 'stopping'))
    events.push(after.reason === '' ? after.status : `${after.status}, ${after.reason}`);
  if (after.checkpointStep > before.checkpointStep) events.push(`checkpoint of step ${after.checkpointStep} saved`);
  return events;
}

/** The mean of the last losses and of the first ones, `count` steps each; undefined where no loss is finite. */
export function firstAndLastLoss(metrics: readonly MetricsRow[], count = 5): { first?: number; last?: number } {
  const first = mean(finiteLosses(metrics.slice(0, count)));
  const last = mean(finiteLosses(metrics.slice(-count)));
  return { ...(first === undefined ? {} : { first }), ...(last === undefined ? {} : { last }) };
}

function trend(metrics: readonly MetricsRow[]): number | undefined {
  const size = Math.min(WINDOW, Math.floor(metrics.length / 2));
  if (size === 0) return undefined;
  const after = mean(finiteLosses(metrics.slice(-size)));
  const before = mean(finiteLosses(metrics.slice(-2 * size, -size)));
  return after === undefined || before === undefined ? undefined : after - before;
}

/** The median, because a run that was resumed or lost a worker has a pause among its steps. */
function typicalStepSeconds(metrics: readonly MetricsRow[]): number | undefined {
  const seconds = metrics.slice(1).map((each, at) => (committedAtMs(each) - committedAtMs(metrics[at] ?? each)) / 1000);
  return seconds.length === 0 ? undefined : median(seconds);
}

function thinned(metrics: readonly MetricsRow[]): number[] {
  const stride = Math.max(1, Math.ceil(metrics.length / CHART_POINTS));
  return finiteLosses(metrics.filter((_, at) => (metrics.length - 1 - at) % stride === 0));
}

function finiteLosses(metrics: readonly MetricsRow[]): number[] {
  return metrics.flatMap(({ loss }) => loss ?? []);
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function lastHeldOut(metrics: readonly MetricsRow[]): HeldOut | undefined {
  const last = metrics.findLast(({ heldOut }) => heldOut !== undefined);
  return last?.heldOut === undefined ? undefined : { ...last.heldOut, step: last.step };
}
