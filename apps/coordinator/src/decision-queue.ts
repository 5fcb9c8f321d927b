import { type Clock, SerialQueue } from '@weft/common';
import { type ClusterEvent, type ClusterState, type Decision, decide, type Lookups } from '@weft/coordination';
import { MemoryCheck } from './memory-check.js';

interface DecisionQueueOptions {
  readonly clock: Clock;
  readonly state: ClusterState;
  /** Makes the records of a decision durable. When it fails, the decision was not made. */
  readonly append: (records: Decision['records']) => Promise<void>;
  /** Executes the commands of a decision whose records are durable. */
  readonly execute: (decision: Decision, event: ClusterEvent) => Promise<void>;
  /** What the workers have sent that decides nothing by itself. */
  readonly lookups: Omit<Lookups, 'shortageOf'>;
  /** Called with the seconds that a decision took to compute; default: nothing. */
  readonly onDecided?: (seconds: number) => void;
}

/**
 * Handles one event at a time: decide, write the records, execute the commands. The state changes only once the records
 * are on disk, and nothing is executed before.
 */
export class DecisionQueue {
  readonly #options: Omit<DecisionQueueOptions, 'state'>;
  readonly #serial = new SerialQueue();
  readonly #memory = new MemoryCheck();
  #state: ClusterState;

  constructor({ state, ...options }: DecisionQueueOptions) {
    // The first state is not kept: it would keep every change since.
    this.#options = options;
    this.#state = state;
  }

  /** As of the last decision. */
  get state(): ClusterState {
    return this.#state;
  }

  /**
   * Resolves when the commands of the event's decision are executed.
   *
   * @throws WeftError the refusal of `decide`, or why the records could not be written.
   */
  submit(event: ClusterEvent): Promise<Decision> {
    return this.submitWith(async () => event);
  }

  /** Like `submit`, for an event that is created when its turn comes: nothing is decided in between. */
  submitWith(make: () => Promise<ClusterEvent>): Promise<Decision> {
    return this.runExclusive(async () => {
      const { clock, append, execute, lookups, onDecided } = this.#options;
      const { shortageOf } = this.#memory;
      const event = await make();
      await this.#memory.prepareFor(event);
      const beganMs = performance.now();
      const decision = decide(clock.nowMs(), this.#state, event, { ...lookups, shortageOf });
      onDecided?.((performance.now() - beganMs) / 1000);
      await append(decision.records);
      this.#state = decision.state;
      await execute(decision, event);
      return decision;
    });
  }

  /** Runs `work` between two events. */
  runExclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#serial.run(work);
  }
}
