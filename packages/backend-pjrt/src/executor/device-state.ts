import { SerialQueue, WeftError } from '@weft/common';
import type { DeviceArray } from '../mesh/device-array.js';

/**
 * The resident variables of a program, each in one array on the devices. A phase that assigns a variable takes its array's
 * memory for the new value. Changes happen one after another; reads of the host are issued between them.
 */
export class DeviceState {
  readonly #arrays = new Map<string, DeviceArray>();
  readonly #changes = new SerialQueue();

  /** Runs what starts executions or replaces arrays, alone. */
  change<T>(work: () => Promise<T> | T): Promise<T> {
    return this.#changes.run(work);
  }

  /** @throws WeftError `failed_precondition` when the variable was never written */
  read(name: string): DeviceArray {
    const array = this.#arrays.get(name);
    if (array === undefined) throw new WeftError('failed_precondition', `state ${name} was never written`);
    return array;
  }

  /** Puts an array in the place of the one before, which is freed. */
  replace(name: string, array: DeviceArray): void {
    this.#arrays.get(name)?.free();
    this.#arrays.set(name, array);
  }
}
