import { SerialQueue, WeftError } from '@weft/common';
import type { DeviceBuffer } from '../native/device-buffer.js';

/**
 * The resident variables of a program, each in one buffer of the device. A phase that assigns a variable takes its buffer's
 * memory for the new value. Changes happen one after another; reads of the host are issued between them.
 */
export class DeviceState {
  readonly #buffers = new Map<string, DeviceBuffer>();
  readonly #changes = new SerialQueue();

  /** Runs what starts executions or replaces buffers, alone. */
  change<T>(work: () => Promise<T> | T): Promise<T> {
    return this.#changes.run(work);
  }

  /** @throws WeftError `failed_precondition` when the variable was never written */
  read(name: string): DeviceBuffer {
    const buffer = this.#buffers.get(name);
    if (buffer === undefined) throw new WeftError('failed_precondition', `state ${name} was never written`);
    return buffer;
  }

  /** Puts a buffer in the place of the one before, which is freed. */
  replace(name: string, buffer: DeviceBuffer): void {
    this.#buffers.get(name)?.free();
    this.#buffers.set(name, buffer);
  }
}
