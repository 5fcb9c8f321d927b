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
