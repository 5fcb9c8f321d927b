import type { ClusterEvent, Command, WorkerIdentity } from '@weft/coordination';
import type { SimulatedRing } from './simulated-ring.js';
import { type Assignment, SimulatedWorker } from './simulated-worker.js';
import type { Stream, Surroundings, WorkerEnd } from './surroundings.js';

/** The welcome tells workers to send heartbeats so often: five times per timeout. */
const HEARTBEAT_MS = 2000;
/** How often a worker without a coordinator looks for one. */
const RETRY_MS = 1000;
/** A connection on which nothing comes back for so long is given up. */
const KEEPALIVE_MS = 15_000;
/** How long a worker takes to open an engine. */
const FASTEST_START_MS = 5000;
const SLOWEST_START_MS = 60_000;
/** How long a checkpoint takes to write in the background. */
const SLOWEST_SAVE_MS = 20_000;
/** What it did not do or say may be held against it for so long after it stood still. */
const TOUCHED_MS = 60_000;

/** A worker's process: the protocol of `SimulatedWorker` with a network, time that work takes, and everything that can go wrong. */
export class WorkerProcess implements WorkerEnd {
  readonly identity: WorkerIdentity;
  readonly worker: SimulatedWorker;
  readonly #world: Surroundings;
  #stream: Stream | undefined;
  isDead = false;
  isHung = false;
  /** Nothing gets through to the coordinator, or from it; messages wait until something does again. */
  readonly #stalled = { up: false, down: false };
  #waitingUp: (() => void)[] = [];
  #waitingDown: (() => void)[] = [];
  /** Since then no message of it has arrived; undefined: they do. */
  #silentSinceMs: number | undefined;
  #connectedMs = 0;
  /** When it last stood still, or nothing got through. */
  #touchedMs = -Infinity;
  #lastEventMs = 0;
  #slowMs = 0;
  #ring: SimulatedRing | undefined;

  constructor(world: Surroundings, workerId: string, hostName: string) {
    this.#world = world;
    this.identity = {
      workerId,
      hostName,
      processId: 1,
      dataPlaneAddress: `${workerId}:1`,
      device: 'cpu',
      role: 'rank',
      bf16Backends: [],
    };
    const diskOf = (runId: string) => world.store.runs.get(runId)!.checkpoints;
    this.worker = new SimulatedWorker(workerId, diskOf, (assignment) => this.#join(assignment));
    this.connect();
  }

  get workerId(): string {
    return this.identity.workerId;
  }

  /** The ring of its generation, while it is a member of one that trains. */
  get ring(): SimulatedRing | undefined {
    return this.#ring;
  }

  get isReachable(): boolean {
    return !this.isDead && !this.isHung && !this.#stalled.up && !this.#stalled.down;
  }

  get isTouched(): boolean {
    return !this.isReachable || this.#world.time.nowMs - this.#touchedMs < TOUCHED_MS;
  }

  /** When its last message came, as of now. */
  lastMessageMs(): number {
    const { nowMs } = this.#world.time;
    const untilMs = this.#silentSinceMs ?? nowMs;
    return untilMs - ((untilMs - this.#connectedMs) % HEARTBEAT_MS);
  }

  /** Looks for the coordinator until it has one. */
  connect(): void {
    if (this.isDead || this.#stream?.isOpen === true) return;
    const { time, active } = this.#world;
    if (this.isHung || this.#stalled.up || this.#stalled.down || active === undefined || !active.answers) {
      time.after(RETRY_MS * this.#world.random.uniform() + 100, () => this.connect());
      return;
    }
    const stream: Stream = { process: this, coordinator: active, isOpen: true, lastUpMs: 0, lastDownMs: 0 };
    this.#stream = stream;
    const held = this.worker.held;
    const hello: ClusterEvent = {
      kind: 'workerConnected',
      worker: this.identity,
      ...(held === undefined ? {} : { held }),
    };
    this.#up(stream, () => {
      this.#connectedMs = time.nowMs;
      active.welcome(stream, hello);
    });
  }

  /** A message of the coordinator is on its way. */
  down(stream: Stream, command: Command): void {
    this.#down(stream, () => {
      if (!this.isHung) this.#receive(command);
      else this.worker.inbox.push(command);
    });
  }

  /** The coordinator has closed the stream, or its process is gone. */
  closed(stream: Stream, delayMs: number): void {
    this.#world.time.after(delayMs, () => this.#down(stream, () => this.#lose(stream)));
  }

  /** Computes as far as it can. */
  go(): void {
    if (this.isDead || this.isHung) return;
    this.worker.compute();
    this.#flush();
  }

  /** For a while each of its steps takes so much longer: nothing is wrong with it. */
  slowDown(byMs: number, durationMs: number): void {
    this.#slowMs = byMs;
    this.#world.time.after(durationMs, () => {
      this.#slowMs = 0;
    });
  }

  fail(code: 'internal' | 'device_failed'): void {
    if (this.isDead || this.isHung) return;
    this.worker.fail(code);
    this.#flush();
  }

  leave(): void {
    if (this.isDead || this.isHung || this.worker.isLeaving) return;
    this.worker.leave();
    this.#flush();
  }

  /** kill -9: the kernel closes its connections. With `isSilent` the whole machine is gone, and nobody is told. */
  die(isSilent: boolean): void {
    if (this.isDead) return;
    this.isDead = true;
    this.#fallSilent();
    if (this.#ring !== undefined) this.#world.breakRing(this.#ring);
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream !== undefined && !isSilent)
      this.#world.time.after(this.#world.delayMs(), () => stream.coordinator.lost(stream, 'its process is gone'));
    this.#world.forget(this);
  }

  hang(durationMs: number): void {
    if (this.isDead || this.isHung) return;
    this.isHung = true;
    this.#fallSilent();
    this.#world.time.after(durationMs, () => {
      this.isHung = false;
      this.#touchedMs = this.#world.time.nowMs;
      this.#heard();
      while (this.worker.inbox.length > 0 && !this.isDead) this.#receive(undefined);
      this.go();
    });
  }

  /** The network between it and the coordinator stands still. */
  stall(durationMs: number, direction: 'up' | 'down' | 'both'): void {
    if (this.isDead || this.#stalled.up || this.#stalled.down) return;
    this.#stalled.up = direction !== 'down';
    this.#stalled.down = direction !== 'up';
    const { time } = this.#world;
    if (this.#stalled.up) this.#fallSilent();
    const stream = this.#stream;
    if (stream !== undefined && durationMs > KEEPALIVE_MS)
      time.after(KEEPALIVE_MS, () => {
        if (this.#stream === stream && (this.#stalled.up || this.#stalled.down)) this.#lose(stream);
      });
    time.after(durationMs, () => {
      this.#stalled.up = false;
      this.#stalled.down = false;
      this.#touchedMs = time.nowMs;
      this.#heard();
      const waiting = [...this.#waitingUp.splice(0), ...this.#waitingDown.splice(0)];
      for (const send of waiting) send();
    });
  }

  #fallSilent(): void {
    this.#silentSinceMs ??= this.#world.time.nowMs;
    this.#world.silent.add(this.workerId);
  }

  #heard(): void {
    if (this.isHung || this.#stalled.up || this.isDead) return;
    this.#silentSinceMs = undefined;
    this.#world.silent.delete(this.workerId);
  }

  #receive(command: Command | undefined): void {
    if (this.isDead) return;
    if (command !== undefined) this.worker.inbox.push(command);
    const next = this.worker.inbox[0];
    const stream = this.#stream;
    if (next?.kind === 'probe' && stream !== undefined) {
      this.worker.inbox.shift();
      const reached = next.addresses.filter((address) => this.#world.reaches(this, address));
      this.#send(stream, { kind: 'probed', workerId: this.workerId, reached }, 200);
      return;
    }
    if (next?.kind === 'askProgress' && stream !== undefined) {
      this.worker.inbox.shift();
      const lastEventSeconds = (this.#world.time.nowMs - this.#lastEventMs) / 1000;
      const progress = { ...this.worker.progress, lastEventSeconds };
      this.#up(stream, () => stream.coordinator.told(stream, progress));
      return;
    }
    this.#lastEventMs = this.#world.time.nowMs;
    this.worker.receive();
    if (next?.kind === 'release') this.#ring = undefined;
    if (next?.kind === 'assign' && this.#ring !== undefined) this.#world.transferred(next, this.#ring);
    if (this.#slowMs === 0) this.go();
    else {
      this.#flush();
      this.#world.time.after(this.#slowMs, () => this.go());
    }
  }

  #join(assignment: Assignment): SimulatedRing {
    this.#ring = this.#world.ringOf(assignment);
    return this.#ring;
  }

  /** Everything it has to say is on its way. */
  #flush(): void {
    const { outbox } = this.worker;
    const stream = this.#stream;
    while (outbox.length > 0) {
      const event = outbox.shift()!;
      if (stream !== undefined) this.#send(stream, this.#withCuts(event), this.#worksOn(event));
    }
    if (this.worker.hasLeft) this.die(false);
  }

  /** A broken ring is reported with whom it could not reach. */
  #withCuts(event: ClusterEvent): ClusterEvent {
    if (event.kind !== 'ringBroken') return event;
    const unreachable = this.#world.unreachableFrom(this);
    return unreachable.length === 0 ? event : { ...event, unreachable };
  }

  /** For how long it works on what it will report. */
  #worksOn({ kind }: ClusterEvent): number {
    const { random } = this.#world;
    if (kind === 'prepared') return FASTEST_START_MS + random.below(SLOWEST_START_MS - FASTEST_START_MS);
    return kind === 'partSaved' ? random.below(SLOWEST_SAVE_MS) : 0;
  }

  #send(stream: Stream, event: ClusterEvent, workMs: number): void {
    const arrive = () => stream.coordinator.receive(stream, event);
    if (workMs === 0) this.#up(stream, arrive);
    else
      this.#world.time.after(workMs, () => {
        if (!this.isDead && this.#stream === stream) this.#up(stream, arrive);
      });
  }

  #up(stream: Stream, arrive: () => void): void {
    if (this.#stalled.up) {
      this.#waitingUp.push(() => this.#up(stream, arrive));
      return;
    }
    const { time } = this.#world;
    stream.lastUpMs = Math.max(stream.lastUpMs, time.nowMs + this.#world.delayMs());
    time.at(stream.lastUpMs, arrive);
  }

  #down(stream: Stream, arrive: () => void): void {
    if (this.#stalled.down) {
      this.#waitingDown.push(() => this.#down(stream, arrive));
      return;
    }
    const { time } = this.#world;
    stream.lastDownMs = Math.max(stream.lastDownMs, time.nowMs + this.#world.delayMs());
    time.at(stream.lastDownMs, () => {
      if (!this.isDead && this.#stream === stream) arrive();
    });
  }

  /** It has no coordinator any more, and keeps what it holds. */
  #lose(stream: Stream): void {
    if (this.#stream !== stream) return;
    this.#stream = undefined;
    stream.isOpen = false;
    const { time } = this.#world;
    time.after(this.#world.delayMs(), () => stream.coordinator.lost(stream, 'its stream ended'));
    this.worker.disconnect();
    time.after(RETRY_MS * this.#world.random.uniform(), () => this.connect());
  }
}
