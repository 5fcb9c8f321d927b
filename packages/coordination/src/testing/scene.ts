import type { StepVote } from '@weft/contracts';
import { EMPTY_DIGEST, Ledger } from '@weft/mixture';
import { expect } from 'vitest';
import { defaultSettings } from '../cluster-state.js';
import {
  type ClusterEvent,
  type ClusterState,
  type Command,
  type Decision,
  decide,
  describeRun,
  type FoundCheckpoint,
  initialCluster,
  ledgerRecords,
  type RunDescription,
  type RunRecord,
  replay,
  type Settings,
  type WorkerIdentity,
} from '../index.js';
import { ModelQueue } from './model-queue.js';
import { tinyConfig } from './tiny-config.js';

/** A run id for scenes with one run. */
export const RUN = 'tiny-1';
export const NOTHING: FoundCheckpoint = { checkpoint: undefined, skipped: [] };

type Of<Kind extends Command['kind']> = Extract<Command, { readonly kind: Kind }>;

/**
 * A cluster on paper: events in, decisions out. After every decision it checks that the log alone gives the same state
 * and that the ledger in it is whole.
 */
export class Scene {
  nowMs = Date.UTC(2026, 0, 1);
  state: ClusterState;
  /** By runId. */
  readonly logs = new Map<string, RunRecord[]>();
  /** What the store makes of the queue's commands. */
  queue = new ModelQueue();
  /** The commands since `clear`. */
  commands: Command[] = [];
  reason = '';

  constructor(settings: Partial<Settings> = {}) {
    this.state = initialCluster({ ...defaultSettings, ...settings });
  }

  on(event: ClusterEvent): Decision {
    const decision = decide(this.nowMs, this.state, event);
    this.state = decision.state;
    this.reason = decision.reason;
    for (const { runId, record } of decision.records) this.logs.set(runId, [...(this.logs.get(runId) ?? []), record]);
    this.commands.push(...decision.commands);
    for (const command of decision.commands)
      if (command.kind === 'enqueue' || 'jobId' in command) this.queue.carryOut(command, this.nowMs);
    this.#check();
    return decision;
  }

  /** The coordinator dies and comes back: what is left is the logs, as JSON. */
  restart(policy: 'auto' | 'manual'): void {
    const logs = JSON.parse(JSON.stringify([...this.logs.values()])) as RunRecord[][];
    this.state = initialCluster(this.state.settings, logs.map(replay));
    this.on({ kind: 'recovered', policy, queue: this.queue.list(this.nowMs), endedJobIds: this.queue.endedIds });
  }

  /** Lets time go by as a coordinator sees it; the workers named beat. */
  pass(durationMs: number, ...beating: string[]): void {
    for (let passed = 0; passed < durationMs; passed += 100) {
      this.nowMs += 100;
      for (const workerId of beating) this.on({ kind: 'heartbeat', workerId });
      this.on({ kind: 'tick' });
      this.listQueue();
    }
  }

  /** The coordinator looks at the queue, as it does whenever it changed. */
  listQueue(): void {
    this.on({ kind: 'queueListed', queue: this.queue.list(this.nowMs) });
  }

  attend(...workerIds: string[]): void {
    this.#attend('rank', workerIds);
  }

  attendExperts(...workerIds: string[]): void {
    this.#attend('expertWorker', workerIds);
  }

  #attend(role: WorkerIdentity['role'], workerIds: readonly string[]): void {
    for (const workerId of workerIds) {
      // "west/w1" is worker w1 on host west.
      const hostName = workerId.includes('/') ? workerId.slice(0, workerId.indexOf('/')) : 'host';
      const worker = {
        workerId,
        hostName,
        processId: 1,
        dataPlaneAddress: `${workerId}:1`,
        device: 'cpu',
        role,
      };
      this.on({ kind: 'attended', worker });
    }
  }

  leave(...workerIds: string[]): void {
    for (const workerId of workerIds) this.on({ kind: 'left', workerId, reason: 'its stream ended' });
  }

  /** Tiny runs of two workers and six steps, with a checkpoint every other step. */
  launch(changes: Parameters<typeof tinyConfig>[0] = {}, runId = RUN): void {
    this.on({ kind: 'launch', runId, config: tinyConfig(changes), weftVersion: '0.1.0' });
  }

  resume(found: FoundCheckpoint, change: { workers?: number; steps?: number; expertWorkers?: number } = {}): void {
    const { workers, steps, expertWorkers } = change;
    this.on({ kind: 'resume', runId: RUN, workers, steps, expertWorkers, found });
  }

  stop(saveCheckpoint = true): void {
    this.on({ kind: 'stop', runId: RUN, saveCheckpoint });
  }

  /** One rank's vote in the current generation. */
  vote(workerId: string, vote: Partial<StepVote> = {}, generation = this.view().generation, runId = RUN): void {
    const step = this.view(runId).step + 1;
    const whole = { step, loss: 2, gradNorm: 1, finite: true, sequenceDigest: EMPTY_DIGEST, lossTokens: 100, ...vote };
    this.on({ kind: 'voted', workerId, runId, generation, vote: whole });
  }

  /** Steps on which all members agree. */
  train(count: number, runId = RUN): void {
    for (let i = 0; i < count; i++)
      for (const workerId of this.membersOf(runId)) this.vote(workerId, {}, this.view(runId).generation, runId);
  }

  save(workerId: string, step: number, generation = this.view().generation, runId = RUN): void {
    const files = [{ name: `${workerId}-${step}`, bytes: 1, sha256: '' }];
    this.on({ kind: 'partSaved', workerId, runId, generation, step, files });
  }

  written(workerId: string, step: number, generation = this.view().generation, runId = RUN): void {
    this.on({ kind: 'manifestWritten', workerId, runId, generation, step, directory: `/step-${step}` });
  }

  /** A whole checkpoint: every part, then the manifest. */
  checkpoint(step: number, runId = RUN): void {
    const { generation } = this.view(runId);
    const members = this.membersOf(runId);
    for (const workerId of members) this.save(workerId, step, generation, runId);
    this.written(members[0]!, step, generation, runId);
  }

  breakRing(workerId: string, generation = this.view().generation): void {
    const step = this.view().step + 1;
    this.on({ kind: 'ringBroken', workerId, runId: RUN, generation, step, reason: 'peer gone' });
  }

  report(workerId: string, step: number, generation = this.view().generation): void {
    const seconds = { dataSeconds: 1, computeSeconds: 2, communicationSeconds: 3, applySeconds: 4 };
    const report = { step, learningRate: 1e-3, tokensPerSecond: 50, ...seconds };
    this.on({ kind: 'reported', workerId, runId: RUN, generation, report });
  }

  view(runId = RUN): RunDescription {
    const view = describeRun(this.state, runId);
    if (view === undefined) throw new Error(`no run ${runId}`);
    return view;
  }

  /** The members of the generation at work, by rank. */
  get members(): readonly string[] {
    return this.membersOf(RUN);
  }

  membersOf(runId: string): readonly string[] {
    const live = this.state.runs.get(runId)?.live;
    return live?.stage === 'training' ? live.members : [];
  }

  get log(): readonly RunRecord[] {
    return this.logs.get(RUN) ?? [];
  }

  clear(): void {
    this.commands = [];
  }

  commandsOf<Kind extends Command['kind']>(kind: Kind): readonly Of<Kind>[] {
    return this.commands.filter((command): command is Of<Kind> => command.kind === kind);
  }

  lastCommand<Kind extends Command['kind']>(kind: Kind): Of<Kind> | undefined {
    return this.commandsOf(kind).at(-1);
  }

  #check(): void {
    // What the decision foresaw is what the store made of it; only time moves jobs by itself.
    const foreseen = this.state.queue.jobs.map((job) =>
      job.state === 'delayed' && job.notBeforeMs <= this.nowMs ? { ...job, state: 'waiting' } : job,
    );
    expect(foreseen).toEqual(this.queue.list(this.nowMs).jobs);
    for (const [runId, log] of this.logs) {
      const durable = this.state.runs.get(runId)?.durable;
      expect(replay(JSON.parse(JSON.stringify(log)) as RunRecord[])).toEqual(durable);
      const ledger = Ledger.fold(ledgerRecords(log));
      expect(ledger.problems()).toEqual([]);
      expect(ledger.lastStep).toBe(durable?.step);
    }
  }
}
