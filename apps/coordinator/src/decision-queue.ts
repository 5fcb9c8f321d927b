import type { Clock } from '@weft/common';
import { type ClusterEvent, type ClusterState, type Decision, decide } from '@weft/coordination';

export interface DecisionQueueOptions {
  readonly clock: Clock;
  readonly state: ClusterState;
  /** Makes the records of a decision durable. When it fails, the decision has not been made. */
  readonly append: (records: Decision['records']) => Promise<void>;
  /** Carries out a decision that was made. */
  readonly carryOut: (decision: Decision, event: ClusterEvent) => Promise<void>;
}

/**
 * One event at a time: decide, write down, act. The state moves on only when the records are on disk, and nothing is
 * done before.
 */
export class DecisionQueue {
  readonly #options: DecisionQueueOptions;
  #state: ClusterState;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: DecisionQueueOptions) {
    this.#options = options;
    this.#state = options.state;
  }

  /** As of the last decision. */
  get state(): ClusterState {
    return this.#state;
  }

  /**
   * Resolves when the event's decision is carried out.
   *
   * @throws what `decide` refuses the event with, or why its records could not be written.
   */
  take(event: ClusterEvent): Promise<Decision> {
    return this.takeMade(async () => event);
  }

  /** As `take`, for an event that is made when its turn has come: nothing is decided in between. */
  takeMade(make: () => Promise<ClusterEvent>): Promise<Decision> {
    return this.inTurn(async () => {
      const { clock, append, carryOut } = this.#options;
      const event = await make();
      const decision = decide(clock.nowMs(), this.#state, event);
      await append(decision.records);
      this.#state = decision.state;
      await carryOut(decision, event);
      return decision;
    });
  }

  /** Runs something between two events. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => {});
    return done;
  }
}
