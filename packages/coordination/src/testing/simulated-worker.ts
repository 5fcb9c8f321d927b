import { hash32 } from '@weft/common';
import { digestOf } from '@weft/mixture';
import type { ClusterEvent, Command, MemberEvent } from '../index.js';

/** Every `refusedEvery`-th step has gradients that are not finite. */
const REFUSED_EVERY = 7;

/** The model after some steps: a number that depends on every step applied so far, in order. */
export interface Model {
  readonly step: number;
  readonly weights: number;
}

export const SEED_MODEL: Model = { step: 0, weights: 1 };

export function hasFiniteGradients(step: number): boolean {
  return step % REFUSED_EVERY !== 0;
}

/** One optimizer step; whatever the number of ranks, it depends on the model before only. */
export function trained(model: Model, apply: boolean): Model {
  const step = model.step + 1;
  return { step, weights: apply ? hash32(`${model.weights}/${step}`) : model.weights };
}

/** The loss seen in the step after `model`. */
export function lossOf(model: Model): number {
  return hash32(`loss ${model.weights}`) / 2 ** 32;
}

/** What members of one generation share: who has reduced which step. */
export interface Ring {
  broken: boolean;
  /** By rank: the step whose gradients it brought. */
  readonly arrived: Map<number, number>;
}

/** Files every process sees: whole checkpoints, by step. */
export type Disk = Map<number, Model>;

type Assignment = Extract<Command, { readonly kind: 'assign' }>;

interface Training {
  readonly assignment: Assignment;
  readonly rank: number;
  readonly ring: Ring;
  stage: 'computing' | 'voted' | 'done';
  stopAfter: number | undefined;
}

/** A worker process with its mailboxes: messages cross the wire in order, and only when the simulation says so. */
export class SimulatedWorker {
  readonly workerId: string;
  /** A process that hangs neither works nor beats, but its stream stays open. */
  hangs = false;
  inbox: Command[] = [];
  outbox: ClusterEvent[] = [];
  #training: Training | undefined;
  #model: Model | undefined;
  /** What its parts of checkpoints hold, by run and step. */
  readonly #saved = new Map<string, Model>();
  readonly #diskOf: (runId: string) => Disk;
  readonly #ringOf: (assignment: Assignment) => Ring;

  constructor(workerId: string, diskOf: (runId: string) => Disk, ringOf: (assignment: Assignment) => Ring) {
    this.workerId = workerId;
    this.#diskOf = diskOf;
    this.#ringOf = ringOf;
  }

  /** Takes the next message of the coordinator. */
  receive(): void {
    const command = this.inbox.shift();
    if (command?.kind === 'assign') this.#begin(command);
    if (command?.kind === 'decideStep') this.#decided(command.step, command.apply);
    if (command?.kind === 'stopRun' && this.#training !== undefined) this.#training.stopAfter = command.afterStep;
    if (command?.kind === 'release') this.#released(command.forget);
    if (command?.kind === 'writeManifest') this.#writeManifest(command);
  }

  #released(forget: boolean): void {
    this.breakRing();
    this.#training = undefined;
    if (forget) this.#model = undefined;
  }

  #writeManifest(command: Extract<Command, { readonly kind: 'writeManifest' }>): void {
    const { step, runId } = command;
    if (this.#model === undefined) return;
    this.#diskOf(runId).set(step, this.#saved.get(`${runId}/${step}`)!);
    this.outbox.push({ ...this.#from(command), kind: 'manifestWritten', step, directory: `${step}` });
  }

  #begin(assignment: Assignment): void {
    const { state, firstStep, runId } = assignment;
    if (state.kind === 'fresh') this.#model = SEED_MODEL;
    if (state.kind === 'checkpoint') this.#model = this.#diskOf(runId).get(Number(state.directory));
    if (state.kind === 'checkpoint' && this.#model === undefined) {
      this.#fail(assignment);
      return;
    }
    if (this.#model?.step !== firstStep - 1)
      throw new Error(
        `${this.workerId} holds step ${this.#model?.step}, but is to go on with ${firstStep} (${state.kind})`,
      );
    const rank = assignment.ring.findIndex(({ workerId }) => workerId === this.workerId);
    const ring = this.#ringOf(assignment);
    this.#training = { assignment, rank, ring, stage: 'computing', stopAfter: undefined };
    // All steps are trained already: only the last checkpoint is missing.
    if (firstStep > assignment.config.steps) this.#save();
  }

  #fail(assignment: Assignment): void {
    const failure = { code: 'corrupt_data', message: 'a byte differs', cure: null } as const;
    const outcome = { kind: 'failed', step: assignment.firstStep - 1, failure } as const;
    this.outbox.push({ ...this.#from(assignment), kind: 'ended', outcome });
  }

  #decided(step: number, apply: boolean): void {
    const { assignment, stopAfter } = this.#training!;
    this.#model = trained(this.#model!, apply);
    if (this.#model.step !== step) throw new Error(`${this.workerId} applied ${this.#model.step} for ${step}`);
    if (this.#training!.rank === 0) this.#report(step);
    const { steps, checkpoint } = assignment.config;
    const isLast = step === steps || step === stopAfter;
    if (isLast || step % checkpoint.everySteps === 0) this.#save();
    this.#training!.stage = isLast ? 'done' : 'computing';
  }

  /** Goes on with the step in hand, as far as the ring lets it. */
  work(): void {
    const training = this.#training;
    if (training === undefined || training.stage !== 'computing') return;
    const { ring, rank, assignment } = training;
    const model = this.#model!;
    const step = model.step + 1;
    if (step > assignment.config.steps) return;
    if (ring.broken) {
      training.stage = 'done';
      this.outbox.push({ ...this.#from(assignment), kind: 'ringBroken', step, reason: 'a peer is gone' });
      return;
    }
    ring.arrived.set(rank, step);
    const all = assignment.ring.every((_, other) => (ring.arrived.get(other) ?? 0) >= step);
    if (!all) return;
    training.stage = 'voted';
    const sequenceDigest = digestOf([`${step}/${rank}`]);
    const vote = {
      step,
      loss: lossOf(model),
      gradNorm: step,
      finite: hasFiniteGradients(step),
      sequenceDigest,
      lossTokens: 9,
    };
    this.outbox.push({ ...this.#from(assignment), kind: 'voted', vote });
  }

  /** Its training ends with an error that another attempt may not see. */
  fail(): void {
    const training = this.#training;
    if (training === undefined || training.stage !== 'computing') return;
    training.stage = 'done';
    const failure = { code: 'internal', message: 'the engine choked', cure: null } as const;
    const outcome = { kind: 'failed', step: this.#model!.step, failure } as const;
    this.outbox.push({ ...this.#from(training.assignment), kind: 'ended', outcome });
  }

  /** A connection of its ring closes: between two that live, or because it dies. */
  breakRing(): void {
    if (this.#training !== undefined) this.#training.ring.broken = true;
  }

  #save(): void {
    const training = this.#training!;
    const { step } = this.#model!;
    this.#saved.set(`${training.assignment.runId}/${step}`, this.#model!);
    const files = [{ name: `${training.rank}`, bytes: 1, sha256: '' }];
    this.outbox.push({ ...this.#from(training.assignment), kind: 'partSaved', step, files });
  }

  #report(step: number): void {
    const seconds = { dataSeconds: 0, computeSeconds: 0, communicationSeconds: 0, applySeconds: 0 };
    const report = { step, learningRate: 0, tokensPerSecond: 1, ...seconds };
    this.outbox.push({ ...this.#from(this.#training!.assignment), kind: 'reported', report });
  }

  #from({
    runId,
    generation,
  }: {
    runId: string;
    generation: number;
  }): Pick<MemberEvent, 'workerId' | 'runId' | 'generation'> {
    return { workerId: this.workerId, runId, generation };
  }
}
