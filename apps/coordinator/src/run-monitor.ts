import { type Clock, median, SerialQueue } from '@weft/common';
import { goodput, hasEnded, type MetricsRow, type RunGoodput, type TimeBucket, type WorkTime } from '@weft/contracts';
import {
  type ClusterEvent,
  type ClusterState,
  type Command,
  type Decision,
  forecastQueue,
  membershipOf,
  type Run,
  type RunRecord,
  type RunState,
  WorkTimes,
} from '@weft/coordination';
import { consumedBy, type MixtureSchedule, scheduleOf, stretchOfStep } from '@weft/mixture';
import type { RunMetrics, RunSnapshot } from '@weft/telemetry';
import type { RunFiles } from './run-files.js';

/** How long a run that has ended keeps its series: long enough for every scrape to see how it ended. */
const KEPT_MS = 60 * 60 * 1000;
/** Steps whose median says how long one takes. */
const RECENT_STEPS = 21;
/** Fewer steps than these may all have compiled something. */
const FEWEST_STEPS = 3;
/** How often the times of active runs are written beside them. */
const SAVE_INTERVAL_MS = 5000;

interface RunMonitorOptions {
  readonly metrics: RunMetrics;
  readonly clock: Clock;
  readonly filesOf: (runId: string) => RunFiles;
  /** Undefined: nothing is said of costs. */
  readonly pricePerWorkerHour: number | undefined;
}

/** What is known of one run beside its state. */
class Monitored {
  readonly times: WorkTimes;
  /** Of these data settings; others come with a change of the mixture. */
  #schedule: { readonly data: RunState['config']['data']; readonly of: MixtureSchedule } | undefined;
  latest: MetricsRow | undefined;
  heldOut: MetricsRow['heldOut'];
  taskScores: MetricsRow['taskScores'];
  readonly counts = { committed: 0, skipped: 0, spikes: 0, lossTokens: 0, workersLost: 0, ringFailures: 0 };
  readonly waitedForSeconds: number[] = [];
  readonly experts = new Map<number, { routed: number[]; dropped: number[] }>();
  arrivalSeconds: readonly number[] = [];
  /** The communication seconds in the votes of the open step, by workerId. */
  readonly votes = new Map<string, number>();
  lastCommit: { readonly generation: number; readonly atMs: number } | undefined;
  readonly stepSeconds: number[] = [];
  firstStepMs: number | undefined;
  /** When steps were committed whose checkpoint may still be written. */
  readonly committedMs = new Map<number, number>();
  checkpoint: { atMs: number; seconds: number; bytes: number | undefined } | undefined;
  checkpointBytes: number | undefined;
  waitingSinceMs: number | undefined;
  hasChanged = true;
  /** As `times` last followed it. */
  followed: Run | undefined;

  constructor(times: WorkTimes) {
    this.times = times;
  }

  scheduleOf({ config }: RunState): MixtureSchedule {
    if (this.#schedule?.data !== config.data) this.#schedule = { data: config.data, of: scheduleOf(config) };
    return this.#schedule.of;
  }

  /** The run has workers after a time without: what was last before is not overdue. */
  beginAnew(): void {
    this.latest = undefined;
    this.lastCommit = undefined;
    this.checkpoint = undefined;
    this.firstStepMs = undefined;
  }
}

/** Follows every run: what its series show, and what its workers spend their time on. It changes no decision. */
export class RunMonitor {
  readonly #options: RunMonitorOptions;
  readonly #runs = new Map<string, Monitored>();
  readonly #saving = new SerialQueue();
  #lastSaveMs = 0;
  /** Members of a run have changed: a coordinator that dies now must not leave the next one the old ones. */
  #membersChanged = false;

  constructor(options: RunMonitorOptions) {
    this.#options = options;
  }

  /** Before the first decision: reads what earlier coordinators knew of runs that have not ended. */
  async restore(states: readonly RunState[]): Promise<void> {
    for (const state of states) {
      if (hasEnded(state)) continue;
      const stored = await this.#options.filesOf(state.runId).readGoodput();
      this.#runs.set(state.runId, new Monitored(new WorkTimes(stored?.times)));
    }
  }

  /** After every decision. @param isRoutine no run begins, ends or changes its members */
  async observe({ state, records, commands }: Decision, event: ClusterEvent, isRoutine: boolean): Promise<void> {
    // By the log's own times, whatever writing it took.
    const decidedAt = records[0]?.record.time;
    const nowMs = decidedAt === undefined ? this.#options.clock.nowMs() : Date.parse(decidedAt);
    if (event.kind === 'voted')
      this.#runs.get(event.runId)?.votes.set(event.workerId, event.vote.communicationSeconds ?? 0);
    for (const { runId, record } of records) {
      const run = state.runs.get(runId);
      if (run !== undefined) this.#apply(await this.#monitored(run.state), run, record);
    }
    for (const command of commands) this.#see(command);
    if (!isRoutine) for (const run of state.runs.values()) this.#follow(run, state, nowMs);
    this.#saveSometimes(state, nowMs, isRoutine);
  }

  /** A worker's own account of its time since it was assigned to the run. */
  reportTime(runId: string, workerId: string, spent: WorkTime, bucket: TimeBucket): void {
    this.#runs.get(runId)?.times.report(workerId, spent, bucket);
  }

  /** Where the time of a run went, as of now; of a run that ended before this coordinator began, as it was written then. */
  async goodputOf(runId: string): Promise<RunGoodput | undefined> {
    const monitored = this.#runs.get(runId);
    return monitored === undefined ? this.#options.filesOf(runId).readGoodput() : this.#goodputNow(monitored);
  }

  /** Brings the series of all runs to now. */
  updateMetrics(state: ClusterState): void {
    const nowMs = this.#options.clock.nowMs();
    for (const [runId] of this.#runs) {
      const run = state.runs.get(runId);
      if (run !== undefined && (!hasEnded(run.state) || nowMs - run.state.updatedAtMs < KEPT_MS)) continue;
      this.#runs.delete(runId);
      this.#options.metrics.forget(runId);
    }
    const snapshots = [...this.#runs].flatMap(([runId, monitored]) => {
      const run = state.runs.get(runId);
      return run === undefined ? [] : this.#snapshot(monitored, run, state, nowMs);
    });
    this.#options.metrics.set(snapshots);
  }

  /** How long the run that waits the longest has waited, seconds. */
  oldestWaitSeconds(): number {
    const nowMs = this.#options.clock.nowMs();
    return Math.max(
      0,
      ...[...this.#runs.values()].map(({ waitingSinceMs = nowMs }) => (nowMs - waitingSinceMs) / 1000),
    );
  }

  /** Writes the times of all runs. */
  save(): Promise<void> {
    return this.#saving.run(() => this.#saveNow());
  }

  async #saveNow(): Promise<void> {
    for (const [runId, monitored] of this.#runs) {
      if (!monitored.hasChanged) continue;
      monitored.hasChanged = false;
      await this.#options.filesOf(runId).writeGoodput(this.#goodputNow(monitored));
    }
  }

  #goodputNow({ times, stepSeconds }: Monitored): RunGoodput {
    const nowMs = this.#options.clock.nowMs();
    const spent = times.spent(nowMs);
    const { pricePerWorkerHour } = this.#options;
    const cost = pricePerWorkerHour === undefined ? null : (times.heldSeconds(nowMs) / 3600) * pricePerWorkerHour;
    const secondsPerStep = stepSeconds.length < FEWEST_STEPS ? null : median(stepSeconds);
    return { times: times.stored(nowMs), spent, goodput: goodput(spent), cost, secondsPerStep };
  }

  async #monitored(state: RunState): Promise<Monitored> {
    const known = this.#runs.get(state.runId);
    if (known !== undefined) return known;
    // A new run, or one that had ended and is resumed.
    const stored = state.generation === 0 ? undefined : await this.#options.filesOf(state.runId).readGoodput();
    const monitored = new Monitored(new WorkTimes(stored?.times));
    this.#runs.set(state.runId, monitored);
    return monitored;
  }

  #apply(monitored: Monitored, { state, live }: Run, record: RunRecord): void {
    const { counts } = monitored;
    const atMs = Date.parse(record.time);
    switch (record.kind) {
      case 'committed': {
        counts.committed++;
        monitored.times.committed(atMs);
        if (!record.entry.applied) counts.skipped++;
        if (record.spike !== undefined) counts.spikes++;
        counts.lossTokens += record.lossTokens;
        monitored.firstStepMs ??= atMs;
        monitored.committedMs.set(record.entry.step, atMs);
        const { lastCommit } = monitored;
        monitored.lastCommit = { generation: record.entry.generation, atMs };
        if (lastCommit?.generation === record.entry.generation)
          this.#stepTook(monitored, state.runId, atMs - lastCommit.atMs);
        if (live.state === 'training') countArrivals(monitored, live.members);
        monitored.votes.clear();
        return;
      }
      case 'checkpointWritten': {
        const committedMs = monitored.committedMs.get(record.step) ?? atMs;
        monitored.checkpoint = { atMs, seconds: (atMs - committedMs) / 1000, bytes: monitored.checkpointBytes };
        for (const step of monitored.committedMs.keys()) if (step <= record.step) monitored.committedMs.delete(step);
        return;
      }
      case 'workerLost':
        counts.workersLost++;
        return;
      case 'ringBroke':
        counts.ringFailures++;
        return;
      default:
    }
  }

  #stepTook(monitored: Monitored, runId: string, tookMs: number): void {
    this.#options.metrics.stepTook(runId, tookMs / 1000);
    monitored.stepSeconds.push(tookMs / 1000);
    if (monitored.stepSeconds.length > RECENT_STEPS) monitored.stepSeconds.shift();
  }

  #see(command: Command): void {
    if (command.kind !== 'appendMetrics' && command.kind !== 'writeManifest') return;
    const monitored = this.#runs.get(command.runId);
    if (monitored === undefined) return;
    if (command.kind === 'writeManifest') {
      monitored.checkpointBytes = command.files.reduce((sum, { bytes }) => sum + bytes, 0);
      return;
    }
    const { row } = command;
    monitored.latest = row;
    monitored.heldOut = row.heldOut ?? monitored.heldOut;
    monitored.taskScores = row.taskScores ?? monitored.taskScores;
    for (const { layer, routed, dropped } of row.moe?.layers ?? []) {
      const sums = monitored.experts.get(layer) ?? { routed: [], dropped: [] };
      addEach(sums.routed, routed);
      addEach(sums.dropped, dropped);
      monitored.experts.set(layer, sums);
    }
  }

  #follow(run: Run, cluster: ClusterState, nowMs: number): void {
    const monitored = this.#runs.get(run.state.runId);
    if (monitored === undefined) return;
    // Of a thousand runs that wait, most are as they were.
    if (run === monitored.followed && !hasWorkers(run) && !monitored.times.hasMembers) return;
    if (run !== monitored.followed && (hasWorkers(run) || monitored.times.hasMembers)) this.#membersChanged = true;
    if (hasWorkers(run) && monitored.followed !== undefined && !hasWorkers(monitored.followed)) monitored.beginAnew();
    monitored.followed = run;
    monitored.hasChanged = true;
    monitored.times.follow(nowMs, membershipOf(cluster, run), (workerId) => cluster.workers.has(workerId));
    if (run.live.state !== 'waiting') monitored.waitingSinceMs = undefined;
    else monitored.waitingSinceMs ??= nowMs;
  }

  /** In the background: no decision waits for it. */
  #saveSometimes(state: ClusterState, nowMs: number, isRoutine: boolean): void {
    const isDue = nowMs - this.#lastSaveMs >= SAVE_INTERVAL_MS || nowMs < this.#lastSaveMs;
    const hasEndedNow = () =>
      [...this.#runs].some(([runId, { hasChanged }]) => {
        const run = state.runs.get(runId);
        return hasChanged && run !== undefined && hasEnded(run.state);
      });
    if (!isDue && (isRoutine || !hasEndedNow()) && !this.#membersChanged) return;
    this.#membersChanged = false;
    this.#lastSaveMs = nowMs;
    for (const [runId, monitored] of this.#runs) {
      const run = state.runs.get(runId);
      // What is stored of a run that waits says since when it does.
      if (run !== undefined && hasWorkers(run)) monitored.hasChanged = true;
    }
    void this.save();
  }

  #snapshot(monitored: Monitored, { state, live }: Run, cluster: ClusterState, nowMs: number): RunSnapshot {
    const { config, runId, step } = state;
    const schedule = monitored.scheduleOf(state);
    const { times, checkpoint, counts, waitedForSeconds, experts } = monitored;
    const now = this.#goodputNow(monitored);
    const left = config.steps - step;
    const isTraining = live.state === 'training' && left > 0;
    const medianStepSeconds = now.secondsPerStep ?? undefined;
    return {
      runId,
      recipe: config.recipe,
      status: state.status,
      step,
      steps: config.steps,
      workers: config.workers,
      worldSize: live.state === 'training' ? live.members.length : 0,
      generation: state.generation,
      latest: monitored.latest,
      heldOut: monitored.heldOut,
      taskScores: monitored.taskScores,
      sequences: consumedBy(schedule, config.globalBatchSize, step, config.data.skippedBatches),
      plannedSequences: consumedBy(schedule, config.globalBatchSize, config.steps, config.data.skippedBatches),
      weights: stretchOfStep(schedule, config.globalBatchSize, step + 1, config.data.skippedBatches).weights,
      tokens: step * config.globalBatchSize * config.model.sequenceLength,
      checkpoint: {
        step: state.checkpointStep,
        atMs: checkpoint?.atMs ?? monitored.firstStepMs,
        seconds: checkpoint?.seconds,
        bytes: checkpoint?.bytes,
      },
      counts: { ...counts, waitedForSeconds, experts },
      time: times.reported(nowMs),
      goodput: now.goodput ?? undefined,
      etaSeconds: isTraining && medianStepSeconds !== undefined ? left * medianStepSeconds : undefined,
      medianStepSeconds,
      checkpointIntervalSeconds: medianStepSeconds && config.checkpoint.everySteps * medianStepSeconds,
      cost: now.cost ?? undefined,
      queuePosition: forecastQueue(cluster).positions.get(runId),
      queueWaitSeconds: monitored.waitingSinceMs === undefined ? 0 : (nowMs - monitored.waitingSinceMs) / 1000,
      arrivalSeconds: monitored.arrivalSeconds,
    };
  }
}

const hasWorkers = ({ live }: Run) => live.state === 'training' || live.state === 'reforming';

/**
 * The all-reduce ends on all ranks at once, so the one that spent the least on it came last. What the others spent more, they
 * waited for it.
 */
function countArrivals(monitored: Monitored, members: readonly string[]): void {
  const spent = members.map((workerId) => monitored.votes.get(workerId) ?? 0);
  if (spent.length < 2) return;
  const most = Math.max(...spent);
  const least = Math.min(...spent);
  monitored.arrivalSeconds = spent.map((seconds) => most - seconds);
  const last = spent.indexOf(least);
  while (monitored.waitedForSeconds.length < members.length) monitored.waitedForSeconds.push(0);
  const waited = spent.reduce((sum, seconds) => sum + seconds - least, 0);
  monitored.waitedForSeconds[last] = (monitored.waitedForSeconds[last] ?? 0) + waited;
}

function addEach(sums: number[], values: readonly number[]): void {
  for (const [at, value] of values.entries()) sums[at] = (sums[at] ?? 0) + value;
}
