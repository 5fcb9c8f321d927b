/** Measures the stages of a step one after another, in seconds. */
export class Stopwatch {
  readonly #startedMs = performance.now();
  #lapMs = this.#startedMs;

  /** Seconds since the last lap, or since the start. */
  lap(): number {
    const nowMs = performance.now();
    const seconds = (nowMs - this.#lapMs) / 1000;
    this.#lapMs = nowMs;
    return seconds;
  }

  /** Seconds since the start. */
  total(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }
}
