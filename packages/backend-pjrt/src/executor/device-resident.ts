import { WeftError } from '@weft/common';
import {
  type DeviceSpan,
  elementCount,
  type HostTensor,
  type ResidentPart,
  type ResidentTensor,
  type TensorSpec,
} from '@weft/tensor';
import { DeviceArray, type HeldBox } from '../mesh/device-array.js';
import type { Mesh } from '../mesh/mesh.js';
import type { Client } from '../native/client.js';
import type { DeviceBuffer } from '../native/device-buffer.js';
import type { HostArrays } from './host-arrays.js';

/** Whether a value is an output that a phase left on the devices. */
export const isOnDevices = (value: unknown): value is DeviceResident => value instanceof DeviceResident;

/** What a resident tensor needs to reach its devices. */
export interface DeviceAccess {
  readonly client: Client;
  readonly mesh: Mesh;
  readonly hostArrays: HostArrays;
}

/** An output of a phase on the devices. Its parts are what the devices hold: `write` puts new shards beside the old ones. */
export class DeviceResident implements ResidentTensor {
  readonly parts: readonly ResidentPart[];
  readonly #access: DeviceAccess;
  #array: DeviceArray;
  #isDisposed = false;
  /** New shards by device, while not every part is written. */
  #written = new Map<number, DeviceBuffer>();

  /** @param array of which the tensor is an owner from now on */
  constructor(array: DeviceArray, access: DeviceAccess) {
    this.#array = array;
    this.#access = access;
    this.parts = array.boxes.map((held) => ({
      box: held.box,
      hostBytes: 4 * elementCount(held.box.size),
      read: () => this.#read(held),
      write: (values) => this.#write(held, values),
    }));
  }

  get spec(): TensorSpec {
    return this.#array.spec;
  }

  /** A shard that several devices hold alike is lent by each of them. */
  lend<T>(work: (memory: readonly DeviceSpan[]) => Promise<T>): Promise<T> {
    const { shards } = this.#array;
    const lent: DeviceSpan[] = [];
    const lendFrom = (device: number): Promise<T> => {
      const shard = shards[device];
      if (shard === undefined) return work(lent);
      return shard.lend((address) => {
        lent.push({ device, address, elements: elementCount(shard.shape) });
        return lendFrom(device + 1);
      });
    };
    return lendFrom(0);
  }

  /** For a phase of the same engine; still owned by this tensor. @throws WeftError `internal` after `dispose` */
  get array(): DeviceArray {
    if (this.#isDisposed) throw new WeftError('internal', 'an output of a phase was used after it was freed');
    return this.#array;
  }

  /** Safe to call twice. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#array.free();
    for (const shard of this.#written.values()) shard.free();
    this.#written.clear();
  }

  async #read({ box, devices: [device = 0] }: HeldBox): Promise<HostTensor> {
    const tensor = this.#access.hostArrays.take({ shape: box.size, dtype: this.spec.dtype });
    await this.#array.shards[device]?.readInto(tensor.data);
    return tensor;
  }

  async #write({ box, devices }: HeldBox, { data }: HostTensor): Promise<void> {
    const { client, mesh } = this.#access;
    const array = this.#array;
    const { dtype } = array.spec;
    // Memory for the new shard is that of the old one, which nobody reads any more.
    if (!array.isShared) for (const device of devices) array.shards[device]?.free();
    await Promise.all(
      devices.map(async (device) => {
        const shard = await client.upload(data, box.size, dtype, client.devices[device]);
        this.#written.set(device, shard);
      }),
    );
    if (this.#written.size < array.shards.length) return;
    const shards = array.shards.map((old, device) => this.#written.get(device) ?? old);
    this.#written = new Map();
    this.#array = new DeviceArray(array.spec, array.sharding, mesh, shards);
    array.free();
  }
}
