import { WeftError } from '@weft/common';
import type { TensorSpec } from './program.js';

/** The elements of a tensor on the host, row-major. */
export type HostArray = Float32Array | Int32Array;

/**
 * A tensor on the host. `data` may be a view on TensorFlow's own memory: it is writable, may be fed
 * again without a copy, and is gone after `dispose`.
 */
export interface HostTensor {
  readonly spec: TensorSpec;
  readonly data: HostArray;
  dispose(): void;
}

/** What a phase is fed, by input name. */
export type PhaseInputs = Readonly<Record<string, HostTensor | HostArray>>;

/**
 * One execution of a phase whose inputs may come late and whose outputs may leave early. It computes all that it can
 * from the moment it begins; several may be under way at a time.
 */
export interface PhaseRun {
  /**
   * Gives inputs, then waits for the named outputs; what is left goes on computing meanwhile. Each input is given and
   * each output taken once. The caller disposes the outputs.
   * @throws WeftError `invalid_argument` for unknown or repeated names and wrong sizes, `internal` when an output still
   *         lacks inputs or TensorFlow refuses.
   */
  advance(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, HostTensor>>;
  /** Runs what is left on zeros and drops it. Needed for every run that is not taken to its end, before `dispose`. */
  abandon(): Promise<void>;
}

/** Runs the phases of one program over resident state. */
export interface Executor {
  /** For people: which engine this is, "TensorFlow 2.21.0 graph, fp32, 2 threads". */
  readonly description: string;
  /**
   * Runs a phase; feeds must match the phase's inputs exactly.
   * The caller disposes the outputs.
   * @throws WeftError `invalid_argument` when an input is missing, unknown or of another size;
   *         `internal` naming program, phase and op when TensorFlow refuses.
   */
  run(phase: string, inputs: PhaseInputs): Promise<Record<string, HostTensor>>;
  /**
   * Begins a phase with some of its inputs.
   * @throws WeftError `failed_precondition` when this engine needs all of them at once; otherwise as `PhaseRun.advance`.
   */
  begin(phase: string, inputs: PhaseInputs): Promise<PhaseRun>;
  /** Copies of the named variables, or of all of them. */
  readState(names?: readonly string[]): Promise<Record<string, HostTensor>>;
  /** Sets the named variables. */
  writeState(values: PhaseInputs): Promise<void>;
  /** Frees everything native. Safe to call twice. */
  dispose(): Promise<void>;
}

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
