import { type Box, cut, type HostArray, itemAt, paste, required, type TensorSpec } from '@weft/tensor';
import type { Client } from '../native/client.js';
import type { DeviceBuffer } from '../native/device-buffer.js';
import { deviceCount, type Mesh, type Sharding } from './mesh.js';
import { holders, shardBox } from './shards.js';

/** A box of an array, and the devices that hold it. */
export interface HeldBox {
  readonly box: Box;
  /** Numbers of devices, in order. */
  readonly devices: readonly number[];
}

/** The boxes that an array is made of on a mesh, each once. */
export function heldBoxes(shape: readonly number[], sharding: Sharding, mesh: Mesh): readonly HeldBox[] {
  const boxes = Array.from({ length: deviceCount(mesh) }, (_, device) => shardBox(shape, sharding, mesh, device));
  return holders(sharding, mesh).map((holder) => {
    const box = itemAt(boxes, holder);
    const devices = boxes.flatMap(({ begin }, device) => (begin.join() === box.begin.join() ? [device] : []));
    return { box, devices };
  });
}

/** An array on the devices of a mesh, of which each holds its shard. It has one owner or more, each of whom frees it. */
export class DeviceArray {
  readonly spec: TensorSpec;
  readonly sharding: Sharding;
  /** By device. */
  readonly shards: readonly DeviceBuffer[];
  readonly #mesh: Mesh;
  #owners = 1;

  constructor(spec: TensorSpec, sharding: Sharding, mesh: Mesh, shards: readonly DeviceBuffer[]) {
    this.spec = spec;
    this.sharding = sharding;
    this.shards = shards;
    this.#mesh = mesh;
  }

  /** Cuts an array and copies every shard to its device. The array must not change until the promise resolves. */
  static upload(
    client: Client,
    mesh: Mesh,
    spec: TensorSpec,
    sharding: Sharding,
    array: HostArray,
  ): Promise<DeviceArray> {
    return collected(spec, sharding, mesh, async (boxes, upload) => {
      await Promise.all(boxes.map((held) => upload(held, cut(array, spec.shape, held.box), client)));
    });
  }

  /** Memory for every shard; its elements are undefined. */
  static allocate(client: Client, mesh: Mesh, spec: TensorSpec, sharding: Sharding): DeviceArray {
    const shards = Array.from({ length: deviceCount(mesh) }, (_, device) =>
      client.allocate(shardBox(spec.shape, sharding, mesh, device).size, spec.dtype, itemAt(client.devices, device)),
    );
    return new DeviceArray(spec, sharding, mesh, shards);
  }

  /**
   * Copies every shard to its devices, one box after the other.
   * @param valuesOf the elements of a box, which must not change until the next one is asked for
   */
  static fill(
    client: Client,
    mesh: Mesh,
    spec: TensorSpec,
    sharding: Sharding,
    valuesOf: (box: Box) => Promise<HostArray>,
  ): Promise<DeviceArray> {
    return collected(spec, sharding, mesh, async (boxes, upload) => {
      for (const held of boxes) await upload(held, await valuesOf(held.box), client);
    });
  }

  /** Boxes that together are the whole, each once. */
  get boxes(): readonly HeldBox[] {
    return heldBoxes(this.spec.shape, this.sharding, this.#mesh);
  }

  /** Joins the shards, once they are computed, in an array of the caller. */
  async readInto(target: HostArray): Promise<void> {
    const { shape } = this.spec;
    const reads = this.boxes.map(async ({ box, devices: [device = 0] }) => {
      // A shard that lies in one run is read into its place.
      const place = cut(target, shape, box);
      await this.shards[device]?.readInto(place);
      if (place.buffer !== target.buffer) paste(target, shape, box, place);
    });
    await Promise.all(reads);
  }

  get isShared(): boolean {
    return this.#owners > 1;
  }

  /** Makes the caller an owner too. */
  share(): this {
    this.#owners++;
    return this;
  }

  /** To be called once by every owner. */
  free(): void {
    this.#owners--;
    if (this.#owners > 0) return;
    for (const shard of this.shards) if (!shard.isFreed) shard.free();
  }
}

/** An array of the shards that `work` uploads; when it throws, they are freed. */
async function collected(
  spec: TensorSpec,
  sharding: Sharding,
  mesh: Mesh,
  work: (
    boxes: readonly HeldBox[],
    upload: (held: HeldBox, values: HostArray, client: Client) => Promise<void>,
  ) => Promise<void>,
): Promise<DeviceArray> {
  const shards = new Map<number, DeviceBuffer>();
  try {
    await work(heldBoxes(spec.shape, sharding, mesh), async ({ box, devices }, values, client) => {
      const uploads = devices.map(async (device) => {
        shards.set(device, await client.upload(values, box.size, spec.dtype, itemAt(client.devices, device)));
      });
      await Promise.all(uploads);
    });
  } catch (thrown) {
    for (const shard of shards.values()) shard.free();
    throw thrown;
  }
  const byDevice = Array.from({ length: deviceCount(mesh) }, (_, device) => required(shards, device));
  return new DeviceArray(spec, sharding, mesh, byDevice);
}
