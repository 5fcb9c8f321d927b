import { deferred, WeftError } from '@weft/common';
import { ELEMENT_TYPE, type ElementType } from './functions.js';
import { Handle, type Scope } from './handle.js';
import { int64sFrom, type Pointer } from './struct.js';

/** An array of ours whose bytes are the elements of a tensor. */
export type HostData = Float32Array | Int32Array | Uint8Array | Uint16Array | BigInt64Array;

/** A tensor on a device. */
export class DeviceBuffer extends Handle {
  readonly #scope: Scope;

  constructor(pointer: Pointer, scope: Scope) {
    super('a device buffer', pointer, scope);
    this.#scope = scope;
  }

  get shape(): readonly number[] {
    const { dimensions, rank } = this.#scope.plugin.call('Buffer_Dimensions', { buffer: this.pointer });
    return int64sFrom(dimensions, rank);
  }

  /** @throws WeftError `internal` for a type that Weft does not use. */
  get elementType(): ElementType {
    const { elementType } = this.#scope.plugin.call('Buffer_ElementType', { buffer: this.pointer });
    const found = Object.entries(ELEMENT_TYPE).find(([, number]) => number === elementType)?.[0];
    if (found === undefined) throw new WeftError('internal', `PJRT's element type ${elementType} is not supported`);
    return found as ElementType;
  }

  /** Bytes that it takes on the device, which may be more than its elements have. */
  get deviceBytes(): number {
    return this.#scope.plugin.call('Buffer_OnDeviceSizeInBytes', { buffer: this.pointer }).byteCount;
  }

  /** Whether an execution took its memory for a result. Then it can only be freed. */
  get isDonated(): boolean {
    return this.#scope.plugin.call('Buffer_IsDeleted', { buffer: this.pointer }).isDeleted;
  }

  /**
   * Copies the elements, once they are computed, into an array of the caller.
   * @throws WeftError when their computation failed, when it was donated, or when the array has another size
   */
  async readInto<T extends HostData>(target: T): Promise<T> {
    await this.beginReading(target)();
    return target;
  }

  /**
   * The same, begun at once: an execution that takes over its memory later waits for the copy, on the device.
   * @returns what waits for the end of the copy; to be called once
   */
  beginReading(target: HostData): () => Promise<void> {
    const { plugin } = this.#scope;
    const wanted = deferred();
    const copied = this.#scope.during([this], async () => {
      // A call without a target only tells the size.
      const { targetSize } = plugin.call('Buffer_ToHostBuffer', { buffer: this.pointer });
      if (targetSize !== target.byteLength) {
        throw new WeftError('internal', `a device buffer of ${targetSize} bytes is not read into ${target.byteLength}`);
      }
      const { done } = plugin.call('Buffer_ToHostBuffer', { buffer: this.pointer, target, targetSize });
      await wanted.promise;
      await plugin.finished(done);
    });
    copied.catch(() => {});
    return () => {
      wanted.resolve();
      return copied;
    };
  }

  /**
   * Lends its memory, once it is computed, to `work`, which may write there. The memory stays where it is until `work` has
   * settled.
   * @throws WeftError when its computation failed, or when it was donated
   */
  async lend<T>(work: (memory: Pointer) => Promise<T>): Promise<T> {
    const { plugin } = this.#scope;
    return this.#scope.during([this], async () => {
      const buffer = this.pointer;
      await plugin.finished(plugin.call('Buffer_ReadyEvent', { buffer }).ready);
      plugin.call('Buffer_IncreaseExternalReferenceCount', { buffer });
      try {
        return await work(plugin.call('Buffer_OpaqueDeviceMemoryDataPointer', { buffer }).memory);
      } finally {
        plugin.call('Buffer_DecreaseExternalReferenceCount', { buffer });
      }
    });
  }

  protected destroy(buffer: Pointer): void {
    this.#scope.plugin.call('Buffer_Destroy', { buffer });
  }
}
