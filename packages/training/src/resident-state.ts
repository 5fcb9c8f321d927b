import { type Manifest, readManifest } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import type { Executor } from '@weft/engine';
import { initialiseFrom } from './initial-weights.js';
import { initialiseState, loadState } from './model-state.js';
import type { GenerationPlan } from './ports.js';
import type { StatefulProgram } from './stored-state.js';

export interface ResidentStateOptions {
  readonly executor: Executor;
  readonly program: StatefulProgram;
  readonly seed: number;
  /** The checkpoint whose weights a fresh run begins with; null: none, the seed alone. */
  readonly initFrom: string | null;
  /** Looks at a checkpoint before it is loaded; throws to refuse it. Default: nothing to object to. */
  readonly check?: (manifest: Manifest, directory: string) => void;
}

/** Knows after which step the engine's state is, and brings it where a generation begins. */
export class ResidentState {
  readonly #options: ResidentStateOptions;
  /** Undefined while there is none. */
  #step: number | undefined;

  constructor(options: ResidentStateOptions) {
    this.#options = options;
  }

  /** The engine has taken a step. */
  advanced(step: number): void {
    this.#step = step;
  }

  /** @throws `failed_precondition` when the plan wants to go on from memory that is not there, or what loading meets. */
  async prepare({ state, firstStep }: Pick<GenerationPlan, 'state' | 'firstStep'>): Promise<void> {
    if (state.kind === 'keep') {
      if (this.#step === firstStep - 1) return;
      const has = this.#step === undefined ? 'nothing' : `the state after step ${this.#step}`;
      const message = `step ${firstStep} was to go on from memory, but this worker holds ${has}`;
      throw new WeftError('failed_precondition', message);
    }
    this.#step = undefined;
    if (state.kind === 'fresh') await this.#begin();
    else await this.#load(state.directory);
    this.#step = firstStep - 1;
  }

  async #begin(): Promise<void> {
    const { executor, program, seed, initFrom } = this.#options;
    if (initFrom === null) await initialiseState(executor, program, seed);
    else await initialiseFrom(executor, program, seed, initFrom);
  }

  async #load(directory: string): Promise<void> {
    const { executor, program, check } = this.#options;
    const manifest = await readManifest(directory);
    check?.(manifest, directory);
    await loadState(executor, program, directory, manifest);
  }
}
