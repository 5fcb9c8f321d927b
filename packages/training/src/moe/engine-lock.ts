import { SerialQueue } from '@weft/common';
import type { HostTensor, PhaseInputs, PhaseRun, ResidentTensor } from '@weft/tensor';

/** Measures the time in which nothing is computed because the answer of an expert worker is awaited. */
export class StallTimer {
  #computing = 0;
  #awaiting = 0;
  #sinceMs = performance.now();
  #stalledMs = 0;

  /** Seconds so far. */
  get seconds(): number {
    this.#settle();
    return this.#stalledMs / 1000;
  }

  /** Counts the engine as busy until the work settles. */
  async computing<T>(work: () => Promise<T>): Promise<T> {
    this.#settle();
    this.#computing++;
    try {
      return await work();
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
    if (this.#awaiting > 0 && this.#computing === 0) this.#stalledMs += nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
  }
}

/**
 * Lets one phase run compute at a time, first come, first served. Runs that shared the engine would all end late, and
 * then wait for their experts all at once.
 */
export class EngineLock {
  readonly #queue = new SerialQueue();
  readonly #timer: StallTimer;

  constructor(timer: StallTimer) {
    this.#timer = timer;
  }

  /** Runs the work when everything before it has settled; the timer counts it as computing. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.run(() => this.#timer.computing(work));
  }
}

/** A phase run that begins when it first has the lock, and computes only while it has it. */
export class LockedPhaseRun implements PhaseRun {
  readonly #begin: () => Promise<PhaseRun>;
  readonly #lock: EngineLock;
  #run: PhaseRun | undefined;

  constructor(begin: () => Promise<PhaseRun>, lock: EngineLock) {
    this.#begin = begin;
    this.#lock = lock;
  }

  advance(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, HostTensor>> {
    return this.#locked((run) => run.advance(inputs, outputs));
  }

  keep(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, ResidentTensor>> {
    return this.#locked((run) => run.keep(inputs, outputs));
  }

  async abandon(): Promise<void> {
    await this.#run?.abandon();
  }

  #locked<T>(work: (run: PhaseRun) => Promise<T>): Promise<T> {
    return this.#lock.run(async () => {
      this.#run ??= await this.#begin();
      return work(this.#run);
    });
  }
}
