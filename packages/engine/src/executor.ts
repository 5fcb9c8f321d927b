import type { TensorSpec } from './program.js';

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
  run(phase: string, inputs: Readonly<Record<string, HostTensor | HostArray>>): Promise<Record<string, HostTensor>>;
  /** Copies of the named variables, or of all of them. */
  readState(names?: readonly string[]): Promise<Record<string, HostTensor>>;
  /** Sets the named variables. */
  writeState(values: Readonly<Record<string, HostTensor | HostArray>>): Promise<void>;
  /** Frees everything native. Safe to call twice. */
  dispose(): Promise<void>;
}
