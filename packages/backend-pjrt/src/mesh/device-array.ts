import type { HostArray, TensorSpec } from '@weft/tensor';
import type { Client } from '../native/client.js';
import type { DeviceBuffer } from '../native/device-buffer.js';
import { deviceCount, type Mesh, type Sharding } from './mesh.js';
import { cut, holders, paste, shardBox } from './shards.js';

/** An array on the devices of a mesh, of which each holds its shard. */
export class DeviceArray {
  readonly spec: TensorSpec;
  readonly sharding: Sharding;
  /** By device. */
  readonly shards: readonly DeviceBuffer[];
  readonly #mesh: Mesh;

  constructor(spec: TensorSpec, sharding: Sharding, mesh: Mesh, shards: readonly DeviceBuffer[]) {
    this.spec = spec;
    this.sharding = sharding;
    this.shards = shards;
    this.#mesh = mesh;
  }

  /** Cuts an array and copies every shard to its device. The array must not change until the promise resolves. */
  static async upload(
    client: Client,
    mesh: Mesh,
    spec: TensorSpec,
    sharding: Sharding,
    array: HostArray,
  ): Promise<DeviceArray> {
    const shards = await Promise.all(
      client.devices.slice(0, deviceCount(mesh)).map((device, index) => {
        const box = shardBox(spec.shape, sharding, mesh, index);
        return client.upload(cut(array, spec.shape, box), box.size, spec.dtype, device);
      }),
    );
    return new DeviceArray(spec, sharding, mesh, shards);
  }

  /** Joins the shards, once they are computed, in an array of the caller. */
  async readInto(target: HostArray): Promise<void> {
    const { shape } = this.spec;
    const reads = holders(this.sharding, this.#mesh).map(async (device) => {
      const buffer = this.shards[device];
      const box = shardBox(shape, this.sharding, this.#mesh, device);
      // A shard that lies in one run is read into its place.
      const place = cut(target, shape, box);
      await buffer?.readInto(place);
      if (place.buffer !== target.buffer) paste(target, shape, box, place);
    });
    await Promise.all(reads);
  }

  free(): void {
    for (const shard of this.shards) shard.free();
  }
}
