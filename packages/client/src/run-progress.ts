import { decimal, median, type PerSource, plural } from '@weft/common';
import { committedAtMs, hasEnded, type MetricsRow, type RunView, type TaskScoresRow } from '@weft/contracts';

/** Steps averaged for the speed, the time left and the trend of the loss. */
const WINDOW = 10;
/** Pauses between steps without which no time left is told: the first ones may all have compiled something. */
const FEWEST_PAUSES = 3;
/** Losses kept for the small chart. */
const CHART_POINTS = 400;
/** A run that is watched for weeks must not fill the memory: of more rows than these the older ones are thinned. */
const MOST_ROWS = 10_000;
/** The last rows stay, because a run may be rolled back to any of them, and so do the first ones. */
const RECENT_ROWS = 5000;
const FIRST_ROWS = 10;
/** So many of the others stay at most, at equal distances. */
const OLDER_ROWS = 2500;

type HeldOut = NonNullable<MetricsRow['heldOut']> & { readonly step: number };
type LastScores = TaskScoresRow & { readonly step: number };

/** What the displays draw: one moment of a run. */
export interface ProgressView {
  readonly run: RunView;
  readonly latest: MetricsRow | undefined;
  /** The last evaluation of held-out sequences, and the step after which it was made. */
  readonly heldOut: HeldOut | undefined;
  /** The last scores of tasks, and the step after which they were taken. */
  readonly taskScores: LastScores | undefined;
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
  #metrics: MetricsRow[] = [];
  #sequences: PerSource<number> = {};

  constructor(run: RunView) {
    this.#run = run;
    this.#lastWorldSize = run.worldSize;
  }

  get run(): RunView {
    return this.#run;
  }

  /** Every step that was added and not rolled back, in order; of a long history, some of its steps. */
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
    if (this.#metrics.length > MOST_ROWS) this.#metrics = withFewerOldRows(this.#metrics, metrics.step);
    this.#sequences = added(this.#sequences, metrics.sequences, 1);
    if (metrics.step > this.#run.step) this.#run = { ...this.#run, step: metrics.step };
    const wasRefused = metrics.loss === null || metrics.gradNorm === null;
    // A step that has targets has a loss.
    const isEmpty = metrics.loss === 0 && metrics.gradNorm === 0;
    return [
      ...(wasRefused ? [`step ${metrics.step} was counted but not applied: its gradients were not finite`] : []),
      ...(isEmpty ? [`step ${metrics.step} was counted but not applied: no targets in this step`] : []),
      ...(metrics.heldOut === undefined
        ? []
        : [`held-out loss ${decimal(metrics.heldOut.loss)} after step ${metrics.step}`]),
      ...(metrics.taskScores === undefined
        ? []
        : [`scores after step ${metrics.step}: ${describeScores(metrics.taskScores)}`]),
    ];
  }

  /**
   * Begins with what a run did before.
   *
   * @param rows in the order of their steps: all, or some of them with the first and the last ones
   * @param sequences of all steps up to the last of the rows
   */
  addHistory(rows: readonly MetricsRow[], sequences: PerSource<number>): void {
    this.#metrics.push(...rows);
    this.#sequences = sequences;
    const lastStep = rows.at(-1)?.step ?? 0;
    if (lastStep > this.#run.step) this.#run = { ...this.#run, step: lastStep };
  }

  view(nowMs: number): ProgressView {
    const recent = this.#metrics.slice(-WINDOW);
    const secondsPerStep = typicalStepSeconds(this.#metrics.slice(-WINDOW - 1));
    return {
      run: this.#run,
      latest: this.#metrics.at(-1),
      heldOut: lastHeldOut(this.#metrics),
      taskScores: lastScores(this.#metrics),
      lossTrend: trend(this.#metrics),
      losses: thinned(this.#metrics),
      tokensPerSecond: mean(recent.flatMap(({ tokensPerSecond }) => tokensPerSecond ?? [])),
      secondsPerStep,
      etaSeconds: this.#metrics.length > FEWEST_PAUSES ? this.#etaSeconds(secondsPerStep, nowMs) : undefined,
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

/** The rows of a long run without most of the older ones; those that a view shows stay. */
function withFewerOldRows(metrics: readonly MetricsRow[], lastStep: number): MetricsRow[] {
  const stride = 2 ** Math.ceil(Math.log2(lastStep / OLDER_ROWS));
  const measured = [metrics.findLast(({ heldOut }) => heldOut), metrics.findLast(({ taskScores }) => taskScores)];
  return metrics.filter(
    (row, at) =>
      at < FIRST_ROWS || at >= metrics.length - RECENT_ROWS || row.step % stride === 0 || measured.includes(row),
  );
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

/** At equal distances of steps back from the last one: of older steps some rows may be missing. */
function thinned(metrics: readonly MetricsRow[]): number[] {
  const [first, last] = [metrics[0]?.step ?? 0, metrics.at(-1)?.step ?? 0];
  const stride = Math.max(1, Math.ceil((last - first + 1) / CHART_POINTS));
  const shown: MetricsRow[] = [];
  for (const row of metrics.toReversed())
    if (shown.length === 0 || row.step <= shown.at(-1)!.step - stride) shown.push(row);
  return finiteLosses(shown.reverse());
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

function lastScores(metrics: readonly MetricsRow[]): LastScores | undefined {
  const last = metrics.findLast(({ taskScores }) => taskScores !== undefined);
  return last?.taskScores === undefined ? undefined : { ...last.taskScores, step: last.step };
}

/** "coco 73.5 (0-shot), 114.6 (8-shot); vqav2 46.2 (0-shot)" */
function describeScores({ scores }: TaskScoresRow): string {
  const shotsOf = (task: string, byShots: TaskScoresRow['average']) => {
    const each = Object.entries(byShots).map(
      ([shots, score]) => `${score === null ? 'none' : score.toFixed(1)} (${shots}-shot)`,
    );
    return `${task} ${each.join(', ')}`;
  };
  return Object.entries(scores)
    .map(([task, byShots]) => shotsOf(task, byShots))
    .join('; ');
}
