import type { MetricsRow } from '@weft/contracts';
import type { ClusterEvent, Command, HeldRun, MemberEvent, RunRecord, ToldProgress } from '@weft/coordination';
import { hasFiniteGradients, SimulatedModel } from './simulated-model.js';
import type { SimulatedRing } from './simulated-ring.js';

/** The complete checkpoints of a run, by step. Every process reads the same disk. */
type Disk = Map<number, SimulatedModel>;

/** What a run leaves on disk. */
export interface SimulatedRun {
  readonly runId: string;
  readonly workers: number;
  readonly log: RunRecord[];
  readonly checkpoints: Disk;
  /** `metrics.jsonl` */
  rows: MetricsRow[];
}

export type Assignment = Extract<Command, { readonly kind: 'assign' }>;

interface Training {
  readonly assignment: Assignment;
  readonly rank: number;
  readonly ring: SimulatedRing;
  /** The step whose gradients it has contributed. */
  contributedStep: number;
  state: 'computing' | 'voted' | 'done';
  stopAfterStep: number | undefined;
  /** Another generation follows after this step. */
  endAfterStep: number | undefined;
  /** Not decided yet. */
  vote: MemberEvent | undefined;
  hasFailed: boolean;
}

const ranks = new WeakMap<Assignment, ReadonlyMap<string, number>>();

/** Thousands of workers ask for their rank in the same assignment. */
export function rankIn(assignment: Assignment, workerId: string): number {
  const known = ranks.get(assignment) ?? new Map(assignment.ring.map((member, rank) => [member.workerId, rank]));
  ranks.set(assignment, known);
  return known.get(workerId) ?? -1;
}

/**
 * A worker process with an inbox and an outbox. It does nothing by itself: the simulation decides when it receives a
 * message, when it computes, and when a message reaches the coordinator. Messages stay in order.
 */
export class SimulatedWorker {
  readonly workerId: string;
  /** A hanging process neither computes nor sends heartbeats, but its stream stays open. */
  isHanging = false;
  /** It was asked to end, and ends once its run has let it go. */
  isLeaving = false;
  readonly inbox: Command[] = [];
  readonly outbox: ClusterEvent[] = [];
  #training: Training | undefined;
  /** The newest generation of the run whose model it holds. */
  #assigned: Assignment | undefined;
  #model: SimulatedModel | undefined;
  /** Of the step after which the model is. */
  #lastLoss: number | undefined;
  /** Nothing is sent before a coordinator has said that the generation goes on. */
  #isHeld = false;
  /** What another coordinator will want to have. */
  #kept: MemberEvent[] = [];
  /** The model in its parts of checkpoints, by run and step. */
  readonly #saved = new Map<string, SimulatedModel>();
  readonly #diskOf: (runId: string) => Disk;
  readonly #ringOf: (assignment: Assignment) => SimulatedRing;

  constructor(workerId: string, diskOf: (runId: string) => Disk, ringOf: (assignment: Assignment) => SimulatedRing) {
    this.workerId = workerId;
    this.#diskOf = diskOf;
    this.#ringOf = ringOf;
  }

  /** Handles the next message of the coordinator, if there is one. */
  receive(): void {
    const command = this.inbox.shift();
    if (command?.kind === 'assign') this.#start(command);
    if (command?.kind === 'prepare')
      this.outbox.push({ kind: 'prepared', workerId: this.workerId, runId: command.runId, failure: undefined });
    if (command?.kind === 'endGeneration' && this.#training !== undefined)
      this.#training.endAfterStep = command.afterStep;
    if (command?.kind === 'continueGeneration') this.#goOn();
    if (command?.kind === 'decideStep') this.#decided(command.step, command.apply);
    if (command?.kind === 'stopRun' && this.#training !== undefined) this.#training.stopAfterStep = command.afterStep;
    if (command?.kind === 'release') this.#released(command.discardState);
    if (command?.kind === 'writeManifest') this.#writeManifest(command);
  }

  /** Where it is in its run: a rank that has given its gradients waits for the others. */
  get progress(): ToldProgress {
    const { contributedStep, assignment } = this.#training ?? {};
    const step = (this.#model?.step ?? 0) + 1;
    const hasReduced = contributedStep === step;
    const phase = assignment === undefined ? 'idle' : hasReduced ? 'communicating' : 'waitingForData';
    const { runId = '', generation = 0 } = assignment ?? {};
    const last = { lastEvent: 'apply', lastEventSeconds: 60, ringOperations: 0, ringBytes: 0 };
    return { runId, generation, step, parts: hasReduced ? 1 : 0, phase, ...last };
  }

  /** Goes on with the current step, as far as the other ranks allow. */
  compute(): void {
    const training = this.#training;
    if (training === undefined || training.state !== 'computing') return;
    const { ring, assignment } = training;
    const step = this.#model === undefined ? assignment.firstStep : this.#model.step + 1;
    if (step > assignment.config.steps) return;
    if (ring.isBroken) {
      training.state = 'done';
      training.hasFailed = true;
      this.#keep({ ...this.#from(assignment), kind: 'ringBroken', step, reason: 'a peer is gone' });
      return;
    }
    const holders = assignment.ring.length - assignment.newcomers.length;
    if (this.#model === undefined && ring.held.size === holders) [this.#model] = ring.held.values();
    const model = this.#model;
    if (model === undefined) return;
    if (training.contributedStep < step) {
      training.contributedStep = step;
      ring.contribute(step);
    }
    if (!ring.isReduced(step)) return;
    training.state = 'voted';
    ring.votes++;
    const vote = {
      step,
      loss: model.loss,
      gradNorm: step,
      finite: hasFiniteGradients(step),
      sequenceDigest: ring.digest,
      lossTokens: 9,
    };
    training.vote = { ...this.#from(assignment), kind: 'voted', vote };
    this.#send(training.vote);
  }

  /** Ends the training with an error that another attempt, or with `device_failed` another worker, may not meet. */
  fail(code: 'internal' | 'device_failed' = 'internal'): void {
    const training = this.#training;
    if (training === undefined || training.state !== 'computing') return;
    training.state = 'done';
    training.hasFailed = true;
    const failure = { code, message: 'the engine failed', hint: null } as const;
    const outcome = { kind: 'failed', step: this.#model?.step ?? 0, failure } as const;
    this.#keep({ ...this.#from(training.assignment), kind: 'ended', outcome });
  }

  /** It is asked to end. */
  leave(): void {
    this.isLeaving = true;
    this.outbox.push({ kind: 'leaving', workerId: this.workerId });
  }

  /** The run that it is a member of, or whose model it holds. */
  get runId(): string | undefined {
    return this.#assigned?.runId;
  }

  /** Whether it was asked to end and no run needs it any more. */
  get hasLeft(): boolean {
    return this.isLeaving && this.#training === undefined && this.inbox.length === 0 && this.outbox.length === 0;
  }

  /** Its stream ends: what was on its way is lost, and the worker keeps what it holds. */
  disconnect(): void {
    this.inbox.length = 0;
    this.outbox.length = 0;
    this.#isHeld = true;
  }

  /** What it has kept of its run, for the coordinator that it connects to; undefined: nothing. */
  get held(): HeldRun | undefined {
    const training = this.#training;
    if (this.#assigned === undefined || this.#model === undefined) return undefined;
    const { runId, generation } = this.#assigned;
    const votedLoss = training?.state === 'voted' ? this.#model.loss : undefined;
    const isTraining = training?.hasFailed === false && training.stopAfterStep === undefined;
    return { runId, generation, step: this.#model.step, loss: this.#lastLoss, votedLoss, isTraining };
  }

  /** A connection of its ring closes, because a network fails or because the process dies. */
  breakRing(): void {
    if (this.#training !== undefined) this.#training.ring.isBroken = true;
  }

  #start(assignment: Assignment): void {
    const { startFrom, firstStep, runId } = assignment;
    this.#isHeld = false;
    this.#kept = [];
    this.#assigned = assignment;
    if (startFrom.kind === 'fresh') this.#model = SimulatedModel.seed;
    if (startFrom.kind === 'checkpoint') this.#model = this.#diskOf(runId).get(Number(startFrom.directory));
    if (startFrom.kind === 'checkpoint' && this.#model === undefined) {
      const failure = { code: 'corrupt_data', message: 'a byte differs', hint: null } as const;
      const outcome = { kind: 'failed', step: firstStep - 1, failure } as const;
      this.#send({ ...this.#from(assignment), kind: 'ended', outcome });
      return;
    }
    const isNewcomer = startFrom.kind === 'keep' && assignment.newcomers.includes(this.workerId);
    if (isNewcomer) this.#model = undefined;
    if (!isNewcomer && this.#model?.step !== firstStep - 1)
      throw new Error(
        `${this.workerId} holds step ${this.#model?.step}, but is to go on with ${firstStep} (${startFrom.kind})`,
      );
    const rank = rankIn(assignment, this.workerId);
    const ring = this.#ringOf(assignment);
    this.#training = {
      assignment,
      rank,
      ring,
      contributedStep: 0,
      state: 'computing',
      stopAfterStep: undefined,
      endAfterStep: undefined,
      vote: undefined,
      hasFailed: false,
    };
    if (startFrom.kind !== 'keep' || isNewcomer) this.#lastLoss = undefined;
    if (this.#model !== undefined) ring.held.set(rank, this.#model);
    // All steps are trained already: only the last checkpoint is missing.
    if (firstStep > assignment.config.steps) this.#savePart();
  }

  #decided(step: number, apply: boolean): void {
    const training = this.#training!;
    const { assignment, stopAfterStep, rank } = training;
    this.#lastLoss = this.#model!.loss;
    training.vote = undefined;
    this.#model = this.#model!.next(apply);
    if (this.#model.step !== step) throw new Error(`${this.workerId} applied ${this.#model.step} for ${step}`);
    if (rank === 0) this.#report(assignment, step);
    const { steps, checkpoint } = assignment.config;
    const isLast = step === steps || step === stopAfterStep;
    if (isLast || step % checkpoint.everySteps === 0) this.#savePart();
    training.state = isLast || step === training.endAfterStep ? 'done' : 'computing';
  }

  #released(discardState: boolean): void {
    this.breakRing();
    this.#training = undefined;
    if (discardState) this.#model = undefined;
    if (discardState) this.#assigned = undefined;
  }

  #savePart(): void {
    const { assignment, rank } = this.#training!;
    const { step } = this.#model!;
    this.#saved.set(`${assignment.runId}/${step}`, this.#model!);
    const files = [{ name: `${rank}`, bytes: 1, sha256: '' }];
    this.#keep({ ...this.#from(assignment), kind: 'partSaved', step, files });
  }

  #goOn(): void {
    this.#isHeld = false;
    for (const event of this.#kept) this.#send(event);
    if (this.#training?.vote !== undefined) this.#send(this.#training.vote);
  }

  #keep(event: MemberEvent): void {
    this.#kept.push(event);
    this.#send(event);
  }

  #writeManifest(command: Extract<Command, { readonly kind: 'writeManifest' }>): void {
    const { step, runId } = command;
    if (this.#model === undefined) return;
    this.#diskOf(runId).set(step, this.#saved.get(`${runId}/${step}`)!);
    this.#send({ ...this.#from(command), kind: 'manifestWritten', step, directory: `${step}` });
  }

  #report(assignment: Assignment, step: number): void {
    const seconds = { dataSeconds: 0, computeSeconds: 0, communicationSeconds: 0, applySeconds: 0 };
    const report = { step, learningRate: 0, tokensPerSecond: 1, ...seconds };
    this.#send({ ...this.#from(assignment), kind: 'reported', report });
  }

  #from({ runId, generation }: Pick<Assignment, 'runId' | 'generation'>) {
    return { workerId: this.workerId, runId, generation };
  }

  #send(event: MemberEvent): void {
    if (!this.#isHeld) this.outbox.push(event);
  }
}
