import { WeftError } from '@weft/common';
import type { HostTensor, PhaseInputs, PhaseRun } from './executor.js';

/** A phase that was run in one go; its outputs wait to be taken. */
export class CompletedPhaseRun implements PhaseRun {
  readonly #outputs: Map<string, HostTensor>;

  constructor(outputs: Readonly<Record<string, HostTensor>>) {
    this.#outputs = new Map(Object.entries(outputs));
  }

  async advance(inputs: PhaseInputs, names: readonly string[]): Promise<Record<string, HostTensor>> {
    for (const name of Object.keys(inputs)) throw new WeftError('invalid_argument', `input ${name} was given before`);
    return Object.fromEntries(
      names.map((name) => {
        const output = this.#outputs.get(name);
        if (output === undefined) throw new WeftError('invalid_argument', `there is no output ${name} left to take`);
        this.#outputs.delete(name);
        return [name, output];
      }),
    );
  }

  async abandon(): Promise<void> {
    for (const output of this.#outputs.values()) output.dispose();
    this.#outputs.clear();
  }
}
