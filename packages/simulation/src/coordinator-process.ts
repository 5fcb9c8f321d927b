import { assertNever, WeftError } from '@weft/common';
import {
  type ClusterEvent,
  type ClusterState,
  type Command,
  type Decision,
  type decide,
  initialCluster,
  learnProgress,
  type MemberProgress,
  type Timeouts,
  type ToldProgress,
} from '@weft/coordination';
import { LeaseLost } from './simulated-store.js';
import type { CoordinatorEnd, Stream, Surroundings } from './surroundings.js';
import { Violation } from './violation.js';

/** A busy coordinator's. */
const TICK_MS = 500;
/** How often it reads the queue, in which delayed jobs fall due. */
const LIST_MS = 2000;
/** Every worker sends something within this time. */
const JUMP_SEEN_MS = 2500;
/** How long a write of the log takes. */
const FASTEST_WRITE_MS = 1;
const SLOWEST_WRITE_MS = 8;

export type Decide = typeof decide;

/** A coordinator's process: the real `decide` with its own clock, a store that takes time, and streams to workers. */
export class CoordinatorProcess implements CoordinatorEnd {
  readonly token: number;
  isDead = false;
  isSuspended = false;
  readonly streams = new Map<string, Stream>();
  readonly #world: Surroundings;
  readonly #decide: Decide;
  #state: ClusterState;
  /** What is to be decided while a decision is written, or the process stands still. */
  #inbox: ClusterEvent[] = [];
  #isWriting = false;
  /** How far its clock is ahead. */
  #aheadMs: number;
  /** Until when it was `#aheadBeforeMs` ahead, in true time. */
  #jumpedMs = 0;
  #aheadBeforeMs: number;
  readonly #progress = new Map<string, MemberProgress>();
  readonly #lookups = {
    lastMessageMs: (workerId: string) => this.#lastMessageMs(workerId),
    progressOf: (workerId: string) => this.#progress.get(workerId),
    silentBefore: () => this.#silent(),
  };

  constructor(world: Surroundings, token: number, timeouts: Timeouts, aheadMs: number, decideWith: Decide) {
    this.#world = world;
    this.token = token;
    this.#aheadMs = aheadMs;
    this.#aheadBeforeMs = aheadMs;
    this.#decide = decideWith;
    this.#state = initialCluster(timeouts, world.store.replay());
    const { queue } = world.store;
    const { endedIds: endedJobIds } = queue;
    this.handle({ kind: 'recovered', policy: 'auto', queue: queue.list(this.nowMs), endedJobIds });
    this.#tick();
    this.#list();
  }

  get state(): ClusterState {
    return this.#state;
  }

  /** By its own clock. */
  get nowMs(): number {
    return this.#world.time.nowMs + this.#aheadMs;
  }

  /** Nothing is waiting to be decided or written. */
  get isIdle(): boolean {
    return this.answers && !this.#isWriting && this.#inbox.length === 0;
  }

  get answers(): boolean {
    return !this.isDead && !this.isSuspended;
  }

  /** A worker's hello has arrived. */
  welcome(stream: Stream, hello: ClusterEvent): void {
    if (this.isDead) {
      stream.process.closed(stream, 0);
      return;
    }
    const { workerId } = stream.process;
    const before = this.streams.get(workerId);
    if (before !== undefined && before !== stream) before.process.closed(before, 0);
    this.streams.set(workerId, stream);
    this.#progress.delete(workerId);
    this.handle(hello);
  }

  /** A worker's message has arrived. */
  receive(stream: Stream, event: ClusterEvent): void {
    if (this.isDead || this.streams.get(stream.process.workerId) !== stream) return;
    this.#world.count('up', event.kind);
    this.handle(event);
  }

  /** A worker has answered where it is, which decides nothing by itself. */
  told(stream: Stream, progress: ToldProgress): void {
    const { workerId } = stream.process;
    if (this.isDead || this.streams.get(workerId) !== stream) return;
    this.#progress.set(workerId, learnProgress(this.#progress.get(workerId), progress, this.nowMs));
  }

  /** A stream has ended. */
  lost(stream: Stream, reason: string): void {
    const { workerId } = stream.process;
    if (this.isDead || this.streams.get(workerId) !== stream) return;
    this.streams.delete(workerId);
    this.handle({ kind: 'workerDisconnected', workerId, reason });
  }

  /** kill -9, or the end of a coordinator that cannot write. */
  die(): void {
    if (this.isDead) return;
    this.isDead = true;
    this.#inbox = [];
    for (const stream of this.streams.values()) stream.process.closed(stream, this.#world.random.below(500));
    this.streams.clear();
    this.#world.coordinatorDied(this);
  }

  suspend(durationMs: number): void {
    if (this.isDead || this.isSuspended) return;
    this.isSuspended = true;
    this.#world.time.after(durationMs, () => {
      this.isSuspended = false;
      this.#decideNext();
    });
  }

  setClock(byMs: number): void {
    this.#aheadBeforeMs = this.#aheadMs;
    this.#jumpedMs = this.#world.time.nowMs;
    this.#aheadMs += byMs;
  }

  /** Decides an event once those before it are decided and written. */
  handle(event: ClusterEvent): void {
    if (this.isDead) return;
    if (this.#isWriting || this.isSuspended || this.#inbox.length > 0) {
      this.#inbox.push(event);
      return;
    }
    this.#decideNow(event);
  }

  #decideNext(): void {
    while (this.#inbox.length > 0 && !this.#isWriting && !this.isSuspended && !this.isDead)
      this.#decideNow(this.#inbox.shift()!);
  }

  #decideNow(event: ClusterEvent): void {
    const decision = this.#decided(event);
    if (decision === undefined) return;
    const { records, commands, state } = decision;
    if (records.length === 0) {
      this.#state = state;
      if (commands.length > 0) this.#execute(commands);
      return;
    }
    try {
      for (const { runId, record } of records) this.#world.appended(this.token, runId, record);
    } catch (thrown) {
      if (!(thrown instanceof LeaseLost)) throw thrown;
      this.die();
      return;
    }
    this.#state = state;
    this.#world.decided(decision);
    // It may die now: what it has decided is in the log, and nobody knows it.
    this.#isWriting = true;
    const writeMs = FASTEST_WRITE_MS + this.#world.random.below(SLOWEST_WRITE_MS);
    this.#world.time.after(writeMs, () => this.#written(commands));
  }

  #written(commands: Decision['commands']): void {
    if (this.isSuspended) {
      this.#world.time.after(TICK_MS, () => this.#written(commands));
      return;
    }
    this.#isWriting = false;
    if (this.isDead) return;
    this.#execute(commands);
    this.#decideNext();
  }

  #decided(event: ClusterEvent): Decision | undefined {
    try {
      return this.#decide(this.nowMs, this.#state, event, this.#lookups);
    } catch (thrown) {
      // A request of a person may be refused.
      const isRequest = ['launch', 'resume', 'stop', 'saveCheckpoint'].includes(event.kind);
      if (isRequest && thrown instanceof WeftError) return undefined;
      throw thrown instanceof Violation || !(thrown instanceof Error)
        ? thrown
        : new Violation('failure', `${event.kind} cannot be decided: ${thrown.message}`);
    }
  }

  #execute(commands: readonly Command[]): void {
    try {
      for (const command of commands) this.#executeOne(command);
    } catch (thrown) {
      if (!(thrown instanceof LeaseLost)) throw thrown;
      this.die();
    }
  }

  #executeOne(command: Command): void {
    const { store } = this.#world;
    switch (command.kind) {
      case 'assign':
        for (const { workerId } of command.ring) this.#send(workerId, command);
        break;
      case 'decideStep':
      case 'endGeneration':
      case 'continueGeneration':
      case 'stopRun':
      case 'release':
        for (const workerId of command.workerIds) this.#send(workerId, command);
        break;
      case 'prepare':
      case 'probe':
      case 'writeManifest':
        this.#send(command.workerId, command);
        break;
      case 'askProgress':
        for (const workerId of command.workerIds) this.#send(workerId, command);
        break;
      case 'dismiss': {
        const stream = this.streams.get(command.workerId);
        this.streams.delete(command.workerId);
        stream?.process.closed(stream, 0);
        break;
      }
      case 'findCheckpoint': {
        const { runId, notAfterStep } = command;
        this.#world.time.after(100 + this.#world.random.below(3000), () => {
          const found = this.#world.newestCheckpoint(runId, notAfterStep);
          this.handle({ kind: 'checkpointFound', runId, found });
        });
        break;
      }
      case 'setAsideCheckpoints':
        this.#world.setAside(command.runId, command.afterStep);
        break;
      case 'notify':
      case 'writeConfig':
      case 'repairMetrics':
      case 'appendMetrics':
        break;
      case 'enqueue':
      case 'takeJob':
      case 'requeueJob':
      case 'completeJob':
      case 'failJob':
      case 'cancelJob':
        store.check(this.token);
        store.queue.execute(command, this.nowMs);
        break;
      default:
        assertNever(command);
    }
  }

  #send(workerId: string, command: Command): void {
    const stream = this.streams.get(workerId);
    if (stream === undefined) return;
    this.#world.count('down', command.kind);
    stream.process.down(stream, command);
  }

  #lastMessageMs(workerId: string): number | undefined {
    const heardMs = this.streams.get(workerId)?.process.lastMessageMs();
    if (heardMs === undefined) return undefined;
    return heardMs + (heardMs < this.#jumpedMs ? this.#aheadBeforeMs : this.#aheadMs);
  }

  /** The workers that may have been silent. Right after its clock was set, all seem so that have not sent anything since. */
  #silent(): Iterable<string> {
    return this.#world.time.nowMs - this.#jumpedMs < JUMP_SEEN_MS ? this.streams.keys() : this.#world.silent;
  }

  /** One tick at a time: while a decision is written, or the process stands still, none follows. */
  #tick(): void {
    if (this.isDead) return;
    if (!this.#isWriting && !this.isSuspended) this.handle({ kind: 'tick' });
    this.#world.time.after(TICK_MS, () => this.#tick());
  }

  #list(): void {
    if (this.isDead) return;
    if (!this.isSuspended && !this.#isWriting && this.#inbox.length === 0)
      this.handle({ kind: 'queueListed', queue: this.#world.store.queue.list(this.nowMs) });
    this.#world.time.after(LIST_MS, () => this.#list());
  }
}
