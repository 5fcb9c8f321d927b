import { WeftError } from '@weft/common';
import type { RunGeneration } from '@weft/contracts';
import { type StepReport, type StepVote, stepReportToProto } from '@weft/contracts';
import type { Assignment, StepDecision } from '@weft/proto';
import type {
  CoordinatorPort,
  ExpertCoordinatorPort,
  ExpertDecision,
  GenerationPlan,
  InitialState,
  TrainSignals,
} from '@weft/training';
import type { Send } from './messages.js';

interface PendingDecision {
  readonly step: number;
  readonly resolve: (decision: ExpertDecision) => void;
  readonly reject: (error: WeftError) => void;
}

/**
 * One generation on this worker: passes votes and reports from the training to the coordinator, and decisions, stops and
 * the release from the coordinator to the training. Messages arrive in the order they were sent, so a decision always
 * arrives before the release that follows it.
 */
export class Generation implements CoordinatorPort, ExpertCoordinatorPort {
  readonly assignment: Assignment;
  readonly id: RunGeneration;
  readonly plan: GenerationPlan;
  readonly signals: TrainSignals;
  readonly #send: Send;
  readonly #released = new AbortController();
  readonly #stop: { afterStep: number | undefined } = { afterStep: undefined };
  #pending: PendingDecision | undefined;
  /** A decision that arrived before it was asked for. */
  #early: { readonly step: number; readonly decision: ExpertDecision } | undefined;
  #lastStep: number;

  /** @throws WeftError `invalid_argument` for an assignment without a state to start from. */
  constructor(assignment: Assignment, send: Send) {
    const { runId, generation, rank, ringAddresses, expertAddresses, firstStep } = assignment;
    this.assignment = assignment;
    this.id = { runId, generation };
    const sizes = { worldSize: ringAddresses.length, expertWorkers: expertAddresses.length };
    this.plan = { generation, rank, ...sizes, firstStep, state: initialState(assignment) };
    this.signals = { released: this.#released.signal, stop: this.#stop };
    this.#send = send;
    this.#lastStep = firstStep - 1;
  }

  /** Whether the coordinator has ended it. */
  get isReleased(): boolean {
    return this.#released.signal.aborted;
  }

  /** The last step decided. */
  get lastStep(): number {
    return this.#lastStep;
  }

  vote(vote: StepVote): Promise<{ readonly apply: boolean }> {
    const decided = this.#await(vote.step);
    if (!this.isReleased) this.#send({ $case: 'stepVote', stepVote: { ...this.id, ...vote } });
    return decided.then(({ apply }) => ({ apply }));
  }

  decision(step: number): Promise<ExpertDecision> {
    const early = this.#early?.step === step ? this.#early.decision : undefined;
    return early === undefined ? this.#await(step) : Promise.resolve(early);
  }

  report(report: StepReport): void {
    this.#send({ $case: 'stepReport', stepReport: stepReportToProto(this.id, report) });
  }

  checkpointPart({ step, files }: Parameters<CoordinatorPort['checkpointPart']>[0]): void {
    this.#send({ $case: 'checkpointPart', checkpointPart: { ...this.id, step, files: [...files] } });
  }

  decided({ step, apply, gradNorm, lossTokens }: StepDecision): void {
    const decision = { apply, gradNorm, lossTokens };
    if (step === this.#lastStep + 1) this.#lastStep = step;
    if (this.#pending?.step !== step) {
      this.#early = { step, decision };
      return;
    }
    const { resolve } = this.#pending;
    this.#pending = undefined;
    resolve(decision);
  }

  stopAfter(step: number): void {
    this.#stop.afterStep = step;
  }

  release(): void {
    this.#released.abort();
    this.#pending?.reject(this.#cancelled());
    this.#pending = undefined;
  }

  #await(step: number): Promise<ExpertDecision> {
    if (this.isReleased) return Promise.reject(this.#cancelled());
    return new Promise((resolve, reject) => {
      this.#pending = { step, resolve, reject };
    });
  }

  #cancelled(): WeftError {
    return new WeftError('cancelled', `generation ${this.id.generation} of run ${this.id.runId} was released`);
  }
}

function initialState({ runId, state }: Assignment): InitialState {
  switch (state?.$case) {
    case 'fresh':
      return { kind: 'fresh' };
    case 'keep':
      return { kind: 'keep' };
    case 'checkpointDirectory':
      return { kind: 'checkpoint', directory: state.checkpointDirectory };
    case undefined:
      throw new WeftError('invalid_argument', `the assignment of run ${runId} does not say what to start from`);
  }
}
