import { Random } from '@weft/common';
import { type Decision, decide, defaultTimeouts, type FoundCheckpoint, type RunRecord } from '@weft/coordination';
import { CoordinatorProcess, type Decide } from './coordinator-process.js';
import { type PlannedRun, RunWatch } from './run-watch.js';
import { simulatedConfig } from './simulated-cluster.js';
import { SimulatedRing } from './simulated-ring.js';
import { SimulatedStore, type StoredRun } from './simulated-store.js';
import { type Assignment, rankIn } from './simulated-worker.js';
import type { CoordinatorEnd, Surroundings, WorkerEnd } from './surroundings.js';
import { Violation } from './violation.js';
import { VirtualTime } from './virtual-time.js';
import { WorkerProcess } from './worker-process.js';

/** The message of the failures that the simulation makes. All others with the code `internal` blame the coordinator. */
const ENGINE_FAILURE = 'the engine failed';
/** Why a coordinator gives up a worker of its own accord. */
const GIVEN_UP = /^it (hung|sent no heartbeat|did not vote)/;
/** A ring that has not formed by then will not. */
const FORMATION_MS = 30_000;
/** How long a standby waits for the lease of a coordinator that is gone. */
const FASTEST_TAKEOVER_MS = 2000;
const SLOWEST_TAKEOVER_MS = 30_000;
const RESTART_AFTER_MS = 120_000;

export interface WorldOptions {
  readonly seed: number;
  /** Tests break something here, to see the invariant that names it. */
  readonly decideWith?: Decide;
  readonly isFenced?: boolean;
}

/** A whole cluster in virtual time: processes, network, store and disk. What happens to it is up to the caller. */
export class World implements Surroundings {
  readonly time = new VirtualTime();
  /** Of everything that is not a fault: delays and durations. */
  readonly random: Random;
  readonly store = new SimulatedStore();
  readonly processes = new Map<string, WorkerProcess>();
  readonly watches = new Map<string, RunWatch>();
  /** By direction and kind. */
  readonly messages = new Map<string, number>();
  decisions = 0;
  /** The workers of which nothing arrives. */
  readonly silent = new Set<string>();
  takeovers = 0;
  /** The last reasons that decisions gave, for the report of a violation. */
  readonly reasons: string[] = [];
  #active: CoordinatorProcess | undefined;
  /** When something last happened to the coordinator. */
  #touchedMs = 0;
  readonly #decide: Decide;
  readonly #assignments = new WeakMap<SimulatedRing, Assignment>();
  readonly #rings = new Map<string, { readonly ring: SimulatedRing; readonly assignment: Assignment }>();
  /** Pairs of hosts that do not reach each other. */
  readonly #cuts = new Set<string>();
  #spawned = 0;

  constructor({ seed, decideWith = decide, isFenced = true }: WorldOptions) {
    this.random = Random.of('simulation', seed);
    this.#decide = decideWith;
    this.store.isFenced = isFenced;
    this.startCoordinator(0);
  }

  get active(): CoordinatorProcess | undefined {
    return this.#active;
  }

  /** Of a message between two processes: mostly a few milliseconds, now and then seconds. */
  delayMs(): number {
    const chance = this.random.below(1000);
    if (chance === 0) return 500 + this.random.below(5000);
    return chance < 10 ? 50 + this.random.below(1000) : 1 + this.random.below(20);
  }

  /** A coordinator takes the lease, whoever had it. */
  startCoordinator(aheadMs: number): void {
    this.takeovers++;
    this.touched();
    this.#active = new CoordinatorProcess(this, this.store.acquire(), defaultTimeouts, aheadMs, this.#decide);
  }

  /** A standby takes over in a moment, or somebody starts another after minutes. */
  coordinatorDied(dead: CoordinatorEnd): void {
    if (dead !== this.#active) return;
    this.#active = undefined;
    this.touched();
    const { random } = this;
    const isStandby = random.below(4) > 0;
    const range = isStandby ? SLOWEST_TAKEOVER_MS - FASTEST_TAKEOVER_MS : RESTART_AFTER_MS;
    this.time.after(FASTEST_TAKEOVER_MS + random.below(range), () =>
      this.startCoordinator(random.below(10_000) - 5000),
    );
  }

  /** The lease passes on although its holder lives: it was suspended for too long. */
  takeOver(): void {
    this.startCoordinator(this.random.below(10_000) - 5000);
  }

  touched(): void {
    this.#touchedMs = this.time.nowMs;
  }

  spawn(hostName: string): WorkerProcess {
    const process = new WorkerProcess(this, `w${this.#spawned++}`, hostName);
    this.processes.set(process.workerId, process);
    return process;
  }

  /** A process has ended. Another is started on its host, or on one that replaces it. */
  forget({ workerId, identity }: WorkerEnd): void {
    this.processes.delete(workerId);
    this.time.after(1000 + this.random.below(60_000), () => this.spawn(identity.hostName));
  }

  launch(run: PlannedRun): void {
    this.watches.set(run.runId, new RunWatch(run, this.time));
    const config = simulatedConfig({ ...run, maxAttempts: 1000 });
    this.#active?.handle({ kind: 'launch', runId: run.runId, config, weftVersion: '0' });
  }

  /** A person resumes a run that has stopped or failed. */
  resume(runId: string): void {
    const step = this.#active?.state.runs.get(runId)?.state.step ?? 0;
    const found = this.newestCheckpoint(runId, step);
    const fromStep = found.checkpoint === undefined ? { fromStep: 0 } : {};
    this.#active?.handle({ kind: 'resume', runId, workers: undefined, steps: undefined, ...fromStep, found });
  }

  count(direction: 'up' | 'down', kind: string): void {
    const key = `${direction} ${kind}`;
    this.messages.set(key, (this.messages.get(key) ?? 0) + 1);
  }

  /** A record is written. @throws Violation, or LeaseLost */
  appended(token: number, runId: string, record: RunRecord): void {
    const stored = this.store.append(token, runId, record);
    if (record.kind === 'committed') this.#checkQuorum(runId, record.entry.step, record.entry.generation);
    if (record.kind === 'workerLost') this.#checkBlame(record.workerId, record.reason);
    if (record.kind === 'checkpointWritten') trim(stored);
    if (record.kind === 'failed' || record.kind === 'attemptFailed') {
      const { code, message } = record.failure;
      if (code === 'internal' && !message.includes(ENGINE_FAILURE))
        throw new Violation('failure', `run ${runId} failed: ${message}`);
    }
    this.watches.get(runId)?.add(record);
  }

  decided({ reason }: Decision): void {
    this.decisions++;
    this.reasons.push(`${(this.time.nowMs / 1000).toFixed(1)} s: ${reason.slice(0, 400)}`);
    if (this.reasons.length > 40) this.reasons.splice(0, 20);
  }

  #checkQuorum(runId: string, step: number, generation: number): void {
    const ring = this.#rings.get(`${runId}/${generation}`)?.ring;
    if (ring?.step === step && ring.votes === ring.size) return;
    const votes = ring?.step === step ? ring.votes : 0;
    throw new Violation(
      'quorum',
      `step ${step} of run ${runId} was committed in generation ${generation} when ${votes} of ${ring?.size ?? '?'} members had voted`,
    );
  }

  /** Whatever becomes of the coordinator and its clock, only workers to which something happened are given up. */
  #checkBlame(workerId: string, reason: string): void {
    const process = this.processes.get(workerId);
    if (process === undefined || process.isTouched || !GIVEN_UP.test(reason)) return;
    throw new Violation('blame', `worker ${workerId} was given up because ${reason}`);
  }

  newestCheckpoint(runId: string, notAfterStep: number): FoundCheckpoint {
    const steps = [...(this.store.runs.get(runId)?.checkpoints.keys() ?? [])].filter((step) => step <= notAfterStep);
    const step = Math.max(0, ...steps);
    return { checkpoint: step === 0 ? undefined : { step, directory: `${step}` }, skipped: [] };
  }

  setAside(runId: string, afterStep: number): void {
    const { checkpoints } = this.store.runs.get(runId)!;
    for (const step of [...checkpoints.keys()]) if (step > afterStep) checkpoints.delete(step);
  }

  /** The ring of a generation, which a member joins. */
  ringOf(assignment: Assignment): SimulatedRing {
    const { runId, generation, ring: members } = assignment;
    const name = `${runId}/${generation}`;
    const known = this.#rings.get(name)?.ring;
    if (known !== undefined) return known;
    // Messages of the generation before may still come, of older ones no more.
    this.#rings.delete(`${runId}/${generation - 3}`);
    const ring: SimulatedRing = new SimulatedRing(members.length, (step) => this.#complete(assignment, ring, step));
    this.#rings.set(name, { ring, assignment });
    this.#assignments.set(ring, assignment);
    this.time.after(FORMATION_MS, () => {
      if (ring.step === 0) this.breakRing(ring);
    });
    this.#breakIfCut(name);
    return ring;
  }

  /** All members have computed their gradients: the sums follow. */
  #complete(assignment: Assignment, ring: SimulatedRing, step: number): void {
    const { stepMs = 0 } = this.watches.get(assignment.runId)?.run ?? {};
    const warmUpMs = step === assignment.firstStep ? stepMs / 2 + this.random.below(30_000) : 0;
    this.time.after(stepMs * (1 + 0.2 * this.random.uniform()) + warmUpMs, () => {
      if (ring.isBroken) return;
      ring.reduce(step);
      this.#wake(assignment, ring);
    });
  }

  /** Once all that hold the model have joined a ring, the newcomers get it. */
  transferred({ ring: members, newcomers }: Assignment, ring: SimulatedRing): void {
    if (newcomers.length === 0 || ring.held.size < members.length - newcomers.length) return;
    this.time.after(500 + this.random.below(10_000), () => {
      for (const workerId of newcomers)
        if (this.processes.get(workerId)?.ring === ring) this.processes.get(workerId)?.go();
    });
  }

  #wake({ ring: members }: Assignment, ring: SimulatedRing): void {
    for (const { workerId } of members) {
      const process = this.processes.get(workerId);
      if (process?.ring === ring) process.go();
    }
  }

  /** A connection of a ring fails: the members notice within moments. */
  breakRing(ring: SimulatedRing, noticeMs = 20 + this.random.below(1500)): void {
    if (ring.isBroken) return;
    ring.isBroken = true;
    const assignment = this.#assignments.get(ring)!;
    this.watches.get(assignment.runId)?.touched();
    this.time.after(noticeMs, () => this.#wake(assignment, ring));
  }

  /** Two hosts do not reach each other for a while. */
  cut(a: string, b: string, durationMs: number): void {
    const pair = pairOf(a, b);
    if (a === b || this.#cuts.has(pair)) return;
    this.#cuts.add(pair);
    this.touched();
    for (const name of this.#rings.keys()) this.#breakIfCut(name);
    this.time.after(durationMs, () => {
      this.#cuts.delete(pair);
      this.touched();
    });
  }

  /** Where neighbours in the ring are cut from each other it stands still, which they notice after seconds. */
  #breakIfCut(name: string): void {
    const { ring, assignment } = this.#rings.get(name)!;
    if (this.#cuts.size === 0 || ring.isBroken) return;
    const hosts = assignment.ring.map(({ workerId }) => this.processes.get(workerId)?.identity.hostName ?? '');
    const isCut = hosts.some((host, rank) => this.#cuts.has(pairOf(host, hosts[(rank + 1) % hosts.length]!)));
    if (isCut) this.breakRing(ring, 4000);
  }

  /** Whether a worker can connect to the data plane of another. */
  reaches({ identity }: WorkerEnd, address: string): boolean {
    const other = this.processes.get(address.split(':')[0]!);
    return other !== undefined && !this.#cuts.has(pairOf(identity.hostName, other.identity.hostName));
  }

  /** Data-plane addresses of its neighbours that a member of a ring cannot reach. */
  unreachableFrom(process: WorkerEnd): readonly string[] {
    if (this.#cuts.size === 0 || process.ring === undefined) return [];
    const assignment = this.#assignments.get(process.ring)!;
    const { ring: members } = assignment;
    const rank = rankIn(assignment, process.workerId);
    const neighbours = [members.at(rank - 1), members[(rank + 1) % members.length]];
    return neighbours.flatMap((each) => {
      const other = each && this.processes.get(each.workerId);
      const isCut = other !== undefined && this.#cuts.has(pairOf(process.identity.hostName, other.identity.hostName));
      return isCut && other !== process ? [other.identity.dataPlaneAddress] : [];
    });
  }

  /** Ends every fault that has no end of its own. */
  heal(): void {
    this.#cuts.clear();
    this.touched();
  }

  /** Of the coordinator and of a run: since when nothing has happened to them, nor by them. */
  quietSinceMs(watch: RunWatch): number {
    return Math.max(this.#touchedMs, watch.touchedMs, watch.progressMs);
  }
}

const pairOf = (a: string, b: string) => (a < b ? `${a} ${b}` : `${b} ${a}`);

/** As `checkpoint.keepLast` says. */
function trim({ checkpoints }: StoredRun): void {
  const steps = [...checkpoints.keys()].sort((a, b) => a - b);
  for (const step of steps.slice(0, -5)) checkpoints.delete(step);
}
