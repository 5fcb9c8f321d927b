import { type Deferred, deferred } from '@weft/common';
import type { StepVote } from '@weft/contracts';
import type { ExpertDecision } from '@weft/training';

/** The coordinator of a test: commits a step when every rank has voted for it, and insists that their votes agree. */
export class VoteCounter {
  /** The vote of each committed step. */
  readonly committed = new Map<number, StepVote>();
  readonly #worldSize: number;
  readonly #onVote: (vote: StepVote) => void;
  readonly #votes = new Map<number, number>();
  readonly #decisions = new Map<number, Deferred<ExpertDecision>>();

  /** @param onVote called before a vote counts; what it throws is the answer to the vote. */
  constructor(worldSize: number, onVote: (vote: StepVote) => void = () => {}) {
    this.#worldSize = worldSize;
    this.#onVote = onVote;
  }

  async vote(vote: StepVote): Promise<{ readonly apply: boolean }> {
    this.#onVote(vote);
    const first = this.committed.get(vote.step) ?? vote;
    if (!Object.is(first.loss, vote.loss) || !Object.is(first.gradNorm, vote.gradNorm))
      throw new Error(`ranks disagree: ${JSON.stringify([first, vote])}`);
    this.committed.set(vote.step, first);
    const votes = (this.#votes.get(vote.step) ?? 0) + 1;
    this.#votes.set(vote.step, votes);
    const { finite: apply, gradNorm, lossTokens } = vote;
    if (votes === this.#worldSize) this.#decision(vote.step).resolve({ apply, gradNorm, lossTokens });
    return this.decision(vote.step);
  }

  decision(step: number): Promise<ExpertDecision> {
    return this.#decision(step).promise;
  }

  #decision(step: number): Deferred<ExpertDecision> {
    const known = this.#decisions.get(step) ?? deferred<ExpertDecision>();
    this.#decisions.set(step, known);
    return known;
  }
}
