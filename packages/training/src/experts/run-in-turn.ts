import type { Fed, HostTensor, PhaseRun } from '@weft/engine';
import type { WaitMeter } from './wait-meter.js';

/** A run that begins at its first turn and computes only in its turns. */
export class RunInTurn implements PhaseRun {
  readonly #begin: () => Promise<PhaseRun>;
  readonly #meter: WaitMeter;
  #run: PhaseRun | undefined;

  constructor(begin: () => Promise<PhaseRun>, meter: WaitMeter) {
    this.#begin = begin;
    this.#meter = meter;
  }

  advance(inputs: Fed, outputs: readonly string[]): Promise<Record<string, HostTensor>> {
    return this.#meter.computing(async () => {
      this.#run ??= await this.#begin();
      return this.#run.advance(inputs, outputs);
    });
  }

  async abandon(): Promise<void> {
    await this.#run?.abandon();
  }
}
