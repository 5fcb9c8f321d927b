/** Measures the time in which nothing is computed because an answer is awaited. */
export class WaitMeter {
  #computing = 0;
  #awaiting = 0;
  #sinceMs = performance.now();
  #waitedMs = 0;

  /** Seconds so far. */
  get seconds(): number {
    this.#settle();
    return this.#waitedMs / 1000;
  }

  /** Counts the work as computing until it settles. */
  async computing<T>(work: Promise<T>): Promise<T> {
    this.#settle();
    this.#computing++;
    try {
      return await work;
    } finally {
      this.#settle();
      this.#computing--;
    }
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

  #settle(): void {
    const nowMs = performance.now();
    if (this.#awaiting > 0 && this.#computing === 0) this.#waitedMs += nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
  }
}
