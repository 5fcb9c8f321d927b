import type { StepReport, StepVote } from '@weft/contracts';
import { EMPTY_DIGEST, Ledger } from '@weft/mixture';
import { expect } from 'vitest';
import { defaultTimeouts } from '../cluster-state.js';
import { InMemoryQueue } from '../in-memory-queue.js';
import {
  type ClusterEvent,
  type ClusterState,
  type Command,
  type Decision,
  decide,
  describeRun,
  type FoundCheckpoint,
  type HeldRun,
  initialCluster,
  learnProgress,
  ledgerRecords,
  type MemberProgress,
  type RunDescription,
  type RunRecord,
  replay,
  type ShortageOf,
  type Timeouts,
  type ToldProgress,
  type WorkerIdentity,
} from '../index.js';
import { tinyConfig } from './tiny-config.js';

/** The run of tests that have one run. */
export const RUN = 'tiny-1';
export const NO_CHECKPOINT: FoundCheckpoint = { checkpoint: undefined, skipped: [] };

type Of<Kind extends Command['kind']> = Extract<Command, { readonly kind: Kind }>;

/**
 * Feeds events to `decide` and keeps what comes out: state, logs, commands. After every decision it checks that the log
 * alone gives the same state, that the ledger in it is complete, and that the store's queue is as `decide` expects.
 */
export class DecideHarness {
  nowMs = Date.UTC(2026, 0, 1);
  state: ClusterState;
  /** By runId. */
  readonly logs = new Map<string, RunRecord[]>();
  /** The store. */
  queue = new InMemoryQueue();
  /** The commands since `clearCommands`. */
  commands: Command[] = [];
  reason = '';
  /** When workers sent their last message. */
  readonly lastMessageMs = new Map<string, number>();
  /** Where workers last told that they were. */
  readonly progress = new Map<string, MemberProgress>();
  /** What workers lack for a run; default: nothing. */
  shortageOf: ShortageOf | undefined;

  constructor(timeouts: Partial<Timeouts> = {}) {
    this.state = initialCluster({ ...defaultTimeouts, ...timeouts });
  }

  handle(event: ClusterEvent): Decision {
    if (event.kind === 'workerConnected') {
      this.hear(event.worker.workerId);
      this.progress.delete(event.worker.workerId);
    } else if ('workerId' in event && event.kind !== 'workerDisconnected') this.hear(event.workerId);
    const { shortageOf } = this;
    const lastMessageMs = (workerId: string) => this.lastMessageMs.get(workerId);
    const silentBefore = (timeMs: number) => this.#silentBefore(timeMs);
    const progressOf = (workerId: string) => this.progress.get(workerId);
    const decision = decide(this.nowMs, this.state, event, { shortageOf, lastMessageMs, silentBefore, progressOf });
    this.state = decision.state;
    this.reason = decision.reason;
    for (const { runId, record } of decision.records) this.logs.set(runId, [...(this.logs.get(runId) ?? []), record]);
    this.commands.push(...decision.commands);
    for (const command of decision.commands)
      if (command.kind === 'enqueue' || 'jobId' in command) this.queue.execute(command, this.nowMs);
    this.#check();
    return decision;
  }

  /** The coordinator dies and restarts. Only the logs and the queue are left. */
  restart(policy: 'auto' | 'manual'): void {
    const logs = JSON.parse(JSON.stringify([...this.logs.values()])) as RunRecord[][];
    this.state = initialCluster(this.state.timeouts, logs.map(replay));
    this.handle({ kind: 'recovered', policy, queue: this.queue.list(this.nowMs), endedJobIds: this.queue.endedIds });
  }

  /** A message of a worker comes, which decides nothing. */
  hear(workerId: string): void {
    // The one that was silent the longest is the first.
    this.lastMessageMs.delete(workerId);
    this.lastMessageMs.set(workerId, this.nowMs);
  }

  *#silentBefore(timeMs: number): Generator<string, void, undefined> {
    for (const [workerId, lastMs] of this.lastMessageMs) {
      if (lastMs >= timeMs && lastMs <= this.nowMs) return;
      yield workerId;
    }
  }

  /** Advances the clock in ticks of 100 ms. The workers named send heartbeats. */
  advance(durationMs: number, ...alive: string[]): void {
    for (let passed = 0; passed < durationMs; passed += 100) {
      this.nowMs += 100;
      for (const workerId of alive) this.hear(workerId);
      this.handle({ kind: 'tick' });
      this.listQueue();
    }
  }

  /** The coordinator reads the store's queue, as it does after every change. */
  listQueue(): void {
    this.handle({ kind: 'queueListed', queue: this.queue.list(this.nowMs) });
  }

  connect(...workerIds: string[]): void {
    this.#connect('rank', workerIds);
  }

  connectExperts(...workerIds: string[]): void {
    this.#connect('expertWorker', workerIds);
  }

  /** Ranks on processors with bf16 instructions. */
  connectBf16(...workerIds: string[]): void {
    this.#connect('rank', workerIds, ['auto', 'tensorflow']);
  }

  #connect(
    role: WorkerIdentity['role'],
    workerIds: readonly string[],
    bf16Backends: WorkerIdentity['bf16Backends'] = [],
  ): void {
    for (const workerId of workerIds) {
      this.handle({ kind: 'workerConnected', worker: identityOf(workerId, role, bf16Backends) });
    }
  }

  /** A worker comes back with what it held. */
  comeBack(workerId: string, held: Partial<HeldRun> = {}, role: WorkerIdentity['role'] = 'rank'): void {
    const { step, loss, generation } = this.state.runs.get(RUN)!.state;
    const whole = { runId: RUN, generation, step, loss: loss ?? Number.NaN, votedLoss: undefined, isTraining: true };
    this.handle({ kind: 'workerConnected', worker: identityOf(workerId, role), held: { ...whole, ...held } });
  }

  /** Workers answer that they can join the run. */
  prepared(...workerIds: string[]): void {
    for (const workerId of workerIds) this.handle({ kind: 'prepared', workerId, runId: RUN, failure: undefined });
  }

  /** The ring breaks because a worker cannot reach others. */
  cannotReach(workerId: string, ...others: string[]): void {
    const { generation, step } = this.view();
    const unreachable = others.map((other) => `${other}:1`);
    const reason = 'they cannot be reached';
    this.handle({ kind: 'ringBroken', workerId, runId: RUN, generation, step: step + 1, reason, unreachable });
  }

  disconnect(...workerIds: string[]): void {
    for (const workerId of workerIds) this.handle({ kind: 'workerDisconnected', workerId, reason: 'its stream ended' });
  }

  /** Tiny runs of two workers and six steps, with a checkpoint every other step. */
  launch(changes: Parameters<typeof tinyConfig>[0] = {}, runId = RUN): void {
    this.handle({ kind: 'launch', runId, config: tinyConfig(changes), weftVersion: '0.1.0' });
  }

  resume(
    found: FoundCheckpoint,
    change: { workers?: number; steps?: number; expertWorkers?: number; settings?: string[]; fromStep?: number } = {},
  ): void {
    const { workers, steps, ...others } = change;
    this.handle({ kind: 'resume', runId: RUN, workers, steps, ...others, found });
  }

  /** Other weights, or a newer version of the index, from a step on. */
  changeMixture(fromStep: number, weights: Record<string, string>, indexVersion?: number): void {
    this.handle({ kind: 'changeMixture', runId: RUN, fromStep, weights, indexVersion, reason: 'a test' });
  }

  stop(saveCheckpoint = true): void {
    this.handle({ kind: 'stop', runId: RUN, saveCheckpoint });
  }

  /** One rank's vote in the current generation. */
  vote(workerId: string, vote: Partial<StepVote> = {}, generation = this.view().generation, runId = RUN): void {
    const step = this.view(runId).step + 1;
    const whole = { step, loss: 2, gradNorm: 1, finite: true, sequenceDigest: EMPTY_DIGEST, lossTokens: 100, ...vote };
    this.handle({ kind: 'voted', workerId, runId, generation, vote: whole });
  }

  /** Steps on which all members agree. */
  train(count: number, runId = RUN): void {
    for (let i = 0; i < count; i++)
      for (const workerId of this.membersOf(runId)) this.vote(workerId, {}, this.view(runId).generation, runId);
  }

  /** A worker tells where it is in its run; without more, in the forward pass of the step that is trained. */
  tell(workerId: string, told: Partial<ToldProgress> = {}): void {
    const { generation, step } = this.view();
    const last = { lastEvent: 'data', lastEventSeconds: 0, ringOperations: 0, ringBytes: 0 };
    const progress = {
      runId: RUN,
      generation,
      step: step + 1,
      parts: 1,
      phase: 'computing',
      ...last,
      ...told,
    } as const;
    this.hear(workerId);
    this.progress.set(workerId, learnProgress(this.progress.get(workerId), progress, this.nowMs));
  }

  savePart(workerId: string, step: number, generation = this.view().generation, runId = RUN): void {
    const files = [{ name: `${workerId}-${step}`, bytes: 1, sha256: '' }];
    this.handle({ kind: 'partSaved', workerId, runId, generation, step, files });
  }

  writeManifest(workerId: string, step: number, generation = this.view().generation, runId = RUN): void {
    this.handle({ kind: 'manifestWritten', workerId, runId, generation, step, directory: `/step-${step}` });
  }

  /** A complete checkpoint: every part, then the manifest. */
  checkpoint(step: number, runId = RUN): void {
    const { generation } = this.view(runId);
    const members = this.membersOf(runId);
    for (const workerId of members) this.savePart(workerId, step, generation, runId);
    this.writeManifest(members[0]!, step, generation, runId);
  }

  breakRing(workerId: string, generation = this.view().generation): void {
    const step = this.view().step + 1;
    this.handle({ kind: 'ringBroken', workerId, runId: RUN, generation, step, reason: 'peer gone' });
  }

  report(workerId: string, step: number, generation = this.view().generation, more: Partial<StepReport> = {}): void {
    const seconds = { dataSeconds: 1, computeSeconds: 2, communicationSeconds: 3, applySeconds: 4 };
    const report = { step, learningRate: 1e-3, tokensPerSecond: 50, ...seconds, ...more };
    this.handle({ kind: 'reported', workerId, runId: RUN, generation, report });
  }

  view(runId = RUN): RunDescription {
    const view = describeRun(this.state, runId);
    if (view === undefined) throw new Error(`no run ${runId}`);
    return view;
  }

  /** The ranks of the run's generation. */
  get members(): readonly string[] {
    return this.membersOf(RUN);
  }

  membersOf(runId: string): readonly string[] {
    const live = this.state.runs.get(runId)?.live;
    return live?.state === 'training' ? live.members : [];
  }

  get log(): readonly RunRecord[] {
    return this.logs.get(RUN) ?? [];
  }

  clearCommands(): void {
    this.commands = [];
  }

  commandsOf<Kind extends Command['kind']>(kind: Kind): readonly Of<Kind>[] {
    return this.commands.filter((command): command is Of<Kind> => command.kind === kind);
  }

  lastCommand<Kind extends Command['kind']>(kind: Kind): Of<Kind> | undefined {
    return this.commandsOf(kind).at(-1);
  }

  #check(): void {
    // Between two listings only time moves a job.
    const expected = this.state.queue.jobs.map((job) =>
      job.state === 'delayed' && job.notBeforeMs <= this.nowMs ? { ...job, state: 'waiting' } : job,
    );
    expect(expected).toEqual(this.queue.list(this.nowMs).jobs);
    for (const [runId, log] of this.logs) {
      const state = this.state.runs.get(runId)?.state;
      expect(replay(JSON.parse(JSON.stringify(log)) as RunRecord[])).toEqual(state);
      const ledger = Ledger.fold(ledgerRecords(log));
      expect(ledger.problems()).toEqual([]);
      expect(ledger.lastStep).toBe(state?.step);
    }
  }
}

/** "west/w1" is worker w1 on host west. */
function identityOf(
  workerId: string,
  role: WorkerIdentity['role'],
  bf16Backends: WorkerIdentity['bf16Backends'] = [],
): WorkerIdentity {
  const hostName = workerId.includes('/') ? workerId.slice(0, workerId.indexOf('/')) : 'host';
  return { workerId, hostName, processId: 1, dataPlaneAddress: `${workerId}:1`, device: 'cpu', role, bf16Backends };
}
