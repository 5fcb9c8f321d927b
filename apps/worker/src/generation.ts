import { WeftError } from '@weft/common';
import type { RunGeneration } from '@weft/contracts';
import { type StepReport, type StepVote, stepReportToProto } from '@weft/contracts';
import type { Assignment, HeldRun, StepDecision as StepDecisionMessage } from '@weft/proto';
import type {
  CoordinatorPort,
  ExpertCoordinatorPort,
  ExpertDecision,
  GenerationPlan,
  InitialState,
  StepDecision,
  TrainSignals,
} from '@weft/training';
import type { Body, Send } from './messages.js';

/** What ranks and expert workers need to know. */
type Decision = ExpertDecision & StepDecision;

interface PendingDecision {
  readonly step: number;
  /** Of a rank: what it voted. */
  readonly vote: StepVote | undefined;
  readonly resolve: (decision: Decision) => void;
  readonly reject: (error: WeftError) => void;
}

/** Of a vote that tells nothing of what it took. */
const NO_TIMES = { communicationSeconds: 0, dataSeconds: 0, computeSeconds: 0, applySecondsBefore: 0 };

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
  readonly #save: { afterStep: number | undefined } = { afterStep: undefined };
  readonly #handOver: { afterStep: number | undefined } = { afterStep: undefined };
  #pending: PendingDecision | undefined;
  /** A decision that arrived before it was asked for. */
  #early: { readonly step: number; readonly decision: Decision } | undefined;
  #lastStep: number;
  /** The loss of `lastStep`; undefined where this worker did not take that step. */
  #lastLoss: number | undefined;
  /** What another coordinator will want to have: parts of checkpoints, and how it ended. */
  readonly #kept: Body[] = [];
  /** There is no coordinator: nothing is sent before one has said that the generation goes on. */
  #isHeld = false;
  /** This worker holds the state after `lastStep`. */
  #hasState: boolean;
  #hasFailed = false;

  /**
   * @param before the generation before on this worker, if there was one
   * @throws WeftError `invalid_argument` for an assignment without a state to start from. */
  constructor(assignment: Assignment, send: Send, before?: Generation) {
    const { runId, generation, rank, ringAddresses, expertAddresses, firstStep } = assignment;
    this.assignment = assignment;
    this.id = { runId, generation };
    const sizes = { worldSize: ringAddresses.length, expertWorkers: expertAddresses.length };
    const { trainedToStep } = assignment;
    const state = initialState(assignment);
    const { newcomers, expertCopies } = assignment;
    const expertHolders = assignment.expertHolders.map(({ expertWorkers }) => expertWorkers);
    const moving = { newcomers, expertCopies, expertHolders };
    this.plan = { generation, rank, ...sizes, firstStep, trainedToStep, state, ...moving };
    this.signals = { released: this.#released.signal, stop: this.#stop, save: this.#save, handOver: this.#handOver };
    this.#send = send;
    this.#lastStep = firstStep - 1;
    this.#hasState = state.kind === 'keep';
    if (before?.lastStep === this.#lastStep && this.#hasState) this.#lastLoss = before.#lastLoss;
  }

  /** Whether the coordinator has ended it. */
  get isReleased(): boolean {
    return this.#released.signal.aborted;
  }

  /** The last step decided. */
  get lastStep(): number {
    return this.#lastStep;
  }

  vote(vote: StepVote): Promise<StepDecision> {
    this.#hasState = true;
    const decided = this.#await(vote.step, vote);
    if (!this.isReleased && !this.#isHeld) this.#sendVote(vote);
    return decided.then(({ apply, leastCommunicationSeconds: least }) => ({
      apply,
      ...(least === undefined ? {} : { leastCommunicationSeconds: least }),
    }));
  }

  decision(step: number): Promise<ExpertDecision> {
    this.#hasState = true;
    const early = this.#early?.step === step ? this.#early.decision : undefined;
    return early === undefined ? this.#await(step) : Promise.resolve(early);
  }

  report(report: StepReport): void {
    if (!this.#isHeld) this.#send({ $case: 'stepReport', stepReport: stepReportToProto(this.id, report) });
  }

  checkpointPart({ step, files, stallSeconds }: Parameters<CoordinatorPort['checkpointPart']>[0]): void {
    // The last two checkpoints at most are not complete yet.
    const steps = this.#kept.flatMap((body) => (body.$case === 'checkpointPart' ? body.checkpointPart.step : []));
    if (steps.length > 1) this.#kept.splice(0, 1);
    this.#tell({ $case: 'checkpointPart', checkpointPart: { ...this.id, step, files: [...files], stallSeconds } });
  }

  /**
   * How the generation ended for this worker: as planned; with connections that are closed, and the state after the last decided
   * step; or with a failure of its own, after which what it has in memory may be half a step.
   */
  end(body: Body, how: 'planned' | 'disconnected' | 'failed'): void {
    this.#hasFailed = how !== 'planned';
    if (how === 'failed') this.#hasState = false;
    this.#tell(body);
  }

  /** The coordinator is away. */
  hold(): void {
    this.#isHeld = true;
  }

  /** What this worker holds of the run; undefined while that is nothing. */
  get held(): HeldRun | undefined {
    if (!this.#hasState) return undefined;
    const vote = this.#pending?.vote;
    const isEnding = this.isReleased || this.#hasFailed || this.#stop.afterStep !== undefined;
    return {
      ...this.id,
      step: this.#lastStep,
      loss: this.#lastLoss,
      hasVoted: vote !== undefined,
      votedLoss: vote?.loss ?? 0,
      // Another coordinator knows nothing of a stop before the last step, and would take it for a failure.
      isTraining: !isEnding,
    };
  }

  /** Another coordinator has taken the generation over: it gets what the one before may have missed. */
  goOn(): void {
    this.#isHeld = false;
    for (const body of this.#kept) this.#send(body);
    if (this.#pending?.vote !== undefined) this.#sendVote(this.#pending.vote);
  }

  decided({ step, apply, gradNorm, lossTokens, leastCommunicationSeconds, save }: StepDecisionMessage): void {
    if (save) this.#save.afterStep = step;
    const decision = { apply, gradNorm, lossTokens, leastCommunicationSeconds };
    if (step === this.#lastStep + 1) {
      this.#lastStep = step;
      this.#lastLoss = this.#pending?.step === step ? this.#pending.vote?.loss : undefined;
    }
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

  /** The generation ends with this step, and the worker goes on in the next one. */
  endAfter(step: number): void {
    this.#handOver.afterStep = step;
  }

  /** Whether it ends by itself where this one begins. */
  leadsTo({ firstStep }: Pick<Assignment, 'firstStep'>): boolean {
    return this.#handOver.afterStep === firstStep - 1;
  }

  release(): void {
    this.#released.abort();
    this.#pending?.reject(this.#cancelled());
    this.#pending = undefined;
  }

  #sendVote(vote: StepVote): void {
    this.#send({ $case: 'stepVote', stepVote: { ...NO_TIMES, sourceLoss: {}, ...this.id, ...vote } });
  }

  #tell(body: Body): void {
    this.#kept.push(body);
    if (!this.#isHeld) this.#send(body);
  }

  #await(step: number, vote?: StepVote): Promise<Decision> {
    if (this.isReleased) return Promise.reject(this.#cancelled());
    return new Promise((resolve, reject) => {
      this.#pending = { step, vote, resolve, reject };
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
    case 'peers':
      return { kind: 'peers' };
    case 'checkpointDirectory':
      return { kind: 'checkpoint', directory: state.checkpointDirectory };
    case undefined:
      throw new WeftError('invalid_argument', `the assignment of run ${runId} does not say what to start from`);
  }
}
