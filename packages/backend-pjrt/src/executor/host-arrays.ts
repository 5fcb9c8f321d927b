import { elementCount, type HostArray, type HostTensor, type TensorSpec } from '@weft/tensor';

/**
 * Memory of the host for outputs, used again once an output is disposed: fresh arrays for every step would have V8
 * collect all garbage every few steps.
 */
export class HostArrays {
  readonly #free = new Map<number, ArrayBuffer[]>();

  /** A tensor whose elements are left over from earlier ones. */
  take(spec: TensorSpec): HostTensor {
    const byteCount = 4 * elementCount(spec.shape);
    const buffer = this.#free.get(byteCount)?.pop() ?? new ArrayBuffer(byteCount);
    return new PooledTensor(spec, buffer, () => this.#return(buffer));
  }

  #return(buffer: ArrayBuffer): void {
    const list = this.#free.get(buffer.byteLength) ?? [];
    list.push(buffer);
    this.#free.set(buffer.byteLength, list);
  }
}

/** A tensor of its own, which nobody uses again: for copies that are rare and large. */
export function newHostTensor(spec: TensorSpec): HostTensor {
  return new PooledTensor(spec, new ArrayBuffer(4 * elementCount(spec.shape)), () => {});
}

class PooledTensor implements HostTensor {
  readonly spec: TensorSpec;
  readonly data: HostArray;
  #giveBack: (() => void) | undefined;

  constructor(spec: TensorSpec, buffer: ArrayBuffer, giveBack: () => void) {
    this.spec = spec;
    this.data = spec.dtype === 'float32' ? new Float32Array(buffer) : new Int32Array(buffer);
    this.#giveBack = giveBack;
  }

  dispose(): void {
    this.#giveBack?.();
    this.#giveBack = undefined;
  }
}
