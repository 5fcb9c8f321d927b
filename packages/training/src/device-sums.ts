import { type DeviceGroup, type DeviceSum, openDeviceGroup, type ProcessGroup } from '@weft/collectives';
import { refuse } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type Executor, elementCount } from '@weft/tensor';
import { bucketInputs, type GradientBucket } from './gradient-buckets.js';
import { loadNccl } from './nccl-library.js';

interface DeviceSumsOptions {
  readonly config: Pick<RunConfig, 'engine'>;
  readonly executor: Pick<Executor, 'deviceCount' | 'boxesOf'>;
  readonly buckets: readonly GradientBucket[];
  /** The ranks of the generation. */
  readonly group: ProcessGroup;
  /** Told what sums gradients between workers, in words; not where nothing else was possible. */
  readonly onCollectives: (description: string) => void;
}

/**
 * Opens what sums gradients in the memory of the ranks' devices in one generation, as `engine.collectives` asks for it;
 * undefined where the ring does. Every rank calls it, and all come to the same result.
 * @throws WeftError `native_library` when the settings ask for NCCL and a rank lacks it; `unavailable` when the ring breaks
 */
export async function openDeviceSums(options: DeviceSumsOptions): Promise<DeviceGroup | undefined> {
  const { config, executor, buckets, group, onCollectives } = options;
  const { collectives } = config.engine;
  if (group.worldSize === 1 || collectives === 'ring') return undefined;
  const devices = await executor.deviceCount();
  const { library, missing } = devices === 0 ? { library: undefined, missing: 'the engine has no GPU' } : loadNccl();
  const sums = await Promise.all(
    Object.entries(bucketInputs(buckets)).map(async ([name, spec]): Promise<DeviceSum> => {
      const [box] = await executor.boxesOf(spec);
      return { name, spec, shard: elementCount(box?.size ?? spec.shape) };
    }),
  );
  const outcome = await openDeviceGroup({ ring: group, library, devices, sums });
  if (outcome.group !== undefined) {
    onCollectives(
      `${outcome.group.description}, in the memory of ${devices === 1 ? 'its device' : `${devices} devices`}`,
    );
    return outcome.group;
  }
  if (collectives === 'nccl') {
    const why = missing ?? outcome.reason;
    refuse(
      'native_library',
      `engine.collectives is nccl, but ${why}`,
      'set engine.collectives to auto, or set up NCCL',
    );
  }
  if (devices > 0) onCollectives(`the ring: ${missing ?? outcome.reason}`);
  return undefined;
}
