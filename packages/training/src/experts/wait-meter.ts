/**
 * Lets one piece of work compute at a time, and measures the time in which nothing is computed because an answer is
 * awaited. Pieces that shared the engine would all end late and then wait all at once.
 */
export class WaitMeter {
  #computing = 0;
  #awaiting = 0;
  #sinceMs = performance.now();
  #waitedMs = 0;
  /** The end of the line of those that want to compute. */
  #last: Promise<unknown> = Promise.resolve();

  /** Seconds so far. */
  get seconds(): number {
    this.#settle();
    return this.#waitedMs / 1000;
  }

  /** Begins the work when all that came before has ended. */
  computing<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => this.#compute(work));
    this.#last = result.catch(() => {});
    return result;
  }

  /** Counts the answer as awaited until it settles. */
  async awaiting<T>(answer: Promise<T>): Promise<T> {
    this.#settle();
    this.#awaiting++;
    try {
      return await answer;
    } finally {
      this.#settle();
      this.#awaiting--;
    }
  }

  async #compute<T>(work: () => Promise<T>): Promise<T> {
    this.#settle();
    this.#computing++;
    try {
      return await work();
    } finally {
      this.#settle();
      this.#computing--;
    }
  }

  #settle(): void {
    const nowMs = performance.now();
    if (this.#awaiting > 0 && this.#computing === 0) this.#waitedMs += nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
  }
}
