import { WeftError } from '@weft/common';
import type { Box } from './box.js';
import type { HostArray, HostTensor } from './host-tensor.js';
import type { TensorSpec } from './program.js';
import { type ResidentTensor, residentOnHost } from './resident.js';

/** What a phase is fed, by input name: values of the host, or what a phase of the same engine left in its memory. */
export type PhaseInputs = Readonly<Record<string, HostTensor | HostArray | ResidentTensor>>;

/** Values of variables, by name. */
export type StateValues = Readonly<Record<string, HostTensor | HostArray>>;

/** A part of a variable on its way to the host. The caller disposes what comes. */
export interface StatePart {
  readonly box: Box;
  readonly values: Promise<HostTensor>;
}

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
  /** The same with outputs that stay where they are computed; it need not wait until they are. */
  keep(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, ResidentTensor>>;
  /** Runs what is left on zeros and drops it. Needed for every run that is not taken to its end, before `dispose`. */
  abandon(): Promise<void>;
}

/** Runs the phases of one program over resident state. */
export interface Executor {
  /** For people: which engine this is, "TensorFlow 2.21.0 graph, fp32, 2 threads". */
  readonly description: string;
  /** Whether the first run of a phase compiles it. */
  readonly compiles: boolean;
  /**
   * Runs a phase; feeds must match the phase's inputs exactly.
   * The caller disposes the outputs.
   * @throws WeftError `invalid_argument` when an input is missing, unknown or of another size;
   *         `internal` naming program, phase and op when TensorFlow refuses.
   */
  run(phase: string, inputs: PhaseInputs): Promise<Record<string, HostTensor>>;
  /** The same, with outputs that stay where they are computed. */
  runResident(phase: string, inputs: PhaseInputs): Promise<Record<string, ResidentTensor>>;
  /**
   * Begins a phase with some of its inputs.
   * @param outputsEarly whether outputs are to leave while others are still computed, which may cost speed; default: yes
   * @throws WeftError `failed_precondition` when this engine needs all of them at once; otherwise as `PhaseRun.advance`.
   */
  begin(phase: string, inputs: PhaseInputs, outputsEarly?: boolean): Promise<PhaseRun>;
  /**
   * Says that phases will be run with all their inputs at once. An engine that takes its time to compile begins with it,
   * beside whatever else goes on; what goes wrong there is thrown where the phase is run.
   */
  prepare(phases: readonly string[]): void;
  /** The devices in whose own memory resident outputs lie; 0 where that is the host's. */
  deviceCount(): Promise<number>;
  /** Memory for an input that comes from elsewhere, see `ResidentTensor.lend`; its elements are undefined. */
  allocate(spec: TensorSpec): Promise<ResidentTensor>;
  /** In which boxes this engine holds an array, as `ResidentTensor.parts` has them. */
  boxesOf(spec: TensorSpec): Promise<readonly Box[]>;
  /** Copies of the named variables, or of all of them. */
  readState(names?: readonly string[]): Promise<Record<string, HostTensor>>;
  /**
   * Begins to copy the named variables to the host, in the parts in which the engine holds them. Resolves once nothing that
   * comes later changes the copies.
   */
  copyState(names: readonly string[]): Promise<Record<string, readonly StatePart[]>>;
  /** Makes the first `copyState` of these variables take no longer than the ones after it. */
  prepareCopy(names: readonly string[]): Promise<void>;
  /** Sets the named variables. */
  writeState(values: StateValues): Promise<void>;
  /**
   * Sets the named variables part by part: only what a memory of this engine holds is asked for.
   * @param valuesOf the elements of a box of a variable, row-major; asked for one after the other
   */
  fillState(names: readonly string[], valuesOf: (name: string, box: Box) => Promise<HostArray>): Promise<void>;
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

  async keep(inputs: PhaseInputs, names: readonly string[]): Promise<Record<string, ResidentTensor>> {
    return residentOnHost(await this.advance(inputs, names));
  }

  async abandon(): Promise<void> {
    for (const output of this.#outputs.values()) output.dispose();
    this.#outputs.clear();
  }
}
