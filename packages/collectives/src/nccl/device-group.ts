import { refuse, settlesWithin, WeftError } from '@weft/common';
import type { DeviceSpan, TensorSpec } from '@weft/tensor';
import type { ProcessGroup } from '../ring/process-group.js';
import { Communicators, type DeviceTransfer, type TransferStats } from './communicators.js';
import { type NcclLibrary, UNIQUE_ID_BYTES } from './library.js';

/** What the ranks of one generation do together in the memory of their GPUs. Every rank calls the same methods in the same order. */
export interface DeviceGroup {
  /** For people: "NCCL 2.27.7". */
  readonly description: string;

  /**
   * Replaces the values of every span by their sums over all ranks, in place. Their memory is computed already, and is left
   * alone until the promise settles.
   * @param name of one of the sums that the group was opened for; every device holds a shard of it
   * @throws WeftError `unavailable` naming the rank that is gone; `internal` for other spans than those of the sum
   */
  allReduceSum(name: string, spans: readonly DeviceSpan[]): Promise<void>;

  /** Sends and receives at the same time; lengths are those of the peers. @throws WeftError as `allReduceSum` */
  exchange(sends: readonly DeviceTransfer[], receives: readonly DeviceTransfer[]): Promise<void>;

  /** Frees the communicators; what is under way rejects. */
  close(): Promise<void>;

  readonly stats: TransferStats;
}

/** An array that all ranks add up. NCCL checks nothing: other lengths would hang, or mix the sums of different arrays. */
export interface DeviceSum {
  readonly name: string;
  readonly spec: TensorSpec;
  /** Elements of the shard that a device holds. */
  readonly shard: number;
}

/** What a rank brings. */
export interface DeviceGroupOptions {
  /** The ring of the same ranks. It carries the ids of the communicators, and tells who is gone. */
  readonly ring: ProcessGroup;
  /** Undefined where this rank has no such library. */
  readonly library: NcclLibrary | undefined;
  /** The devices whose memory takes part, from 0. */
  readonly devices: number;
  /** What will be summed, in the order in which it is; the ranks compare it, once. */
  readonly sums: readonly DeviceSum[];
}

/** Or why there is none. */
export type DeviceGroupOutcome =
  | { readonly group: DeviceGroup; readonly reason?: undefined }
  | { readonly group?: undefined; readonly reason: string };

/** After the ring broke, how long an operation may still take that a peer has finished before it left. */
const FINISH_MS = 200;

/**
 * Opens the communicators of a generation over its ring, where every rank has the same library and the same number of
 * devices, which hold the same shards. All ranks come to the same result.
 * @throws WeftError `invalid_argument` naming two ranks that would sum different arrays; else as the methods of `ProcessGroup`, or the library's own error; the caller then closes the ring
 */
export async function openDeviceGroup(options: DeviceGroupOptions): Promise<DeviceGroupOutcome> {
  const { ring, library, devices, sums } = options;
  const reason = whyNot(await offersOf(ring, { library: library?.name ?? '', devices, sums: sums.map(summary) }));
  if (reason !== undefined || library === undefined) return { reason: reason ?? 'this rank has no library' };
  const ids = new Uint8Array(devices * UNIQUE_ID_BYTES);
  if (ring.rank === 0) for (let each = 0; each < devices; each++) ids.set(library.uniqueId(), each * UNIQUE_ID_BYTES);
  await ring.broadcast(ids, 0);
  const communicators = new Communicators({
    library,
    ids: Array.from({ length: devices }, (_, each) => ids.slice(each * UNIQUE_ID_BYTES, (each + 1) * UNIQUE_ID_BYTES)),
    rank: ring.rank,
    worldSize: ring.worldSize,
  });
  const group = new RingedDeviceGroup(library.name, communicators, ring, sums);
  try {
    await communicators.opened();
  } catch (thrown) {
    await group.close();
    throw thrown;
  }
  return { group };
}

/** What a rank tells the others, as JSON. */
interface Offer {
  /** Name and version; empty where a rank has none. Versions that differ may not understand each other. */
  readonly library: string;
  readonly devices: number;
  readonly sums: readonly (readonly [name: string, array: string, shard: number])[];
}

function summary({ name, spec: { dtype, shape }, shard }: DeviceSum): Offer['sums'][number] {
  return [name, `${dtype}[${shape.join(',')}]`, shard];
}

async function offersOf(ring: ProcessGroup, own: Offer): Promise<readonly Offer[]> {
  const offers = await ring.allGather(new TextEncoder().encode(JSON.stringify(own)));
  return offers.map((bytes) => {
    const { library, devices, sums } = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Offer>;
    return { library: String(library ?? ''), devices: Number(devices), sums: sums ?? [] };
  });
}

function whyNot(offers: readonly Offer[]): string | undefined {
  const without = offers.findIndex(({ library }) => library === '');
  if (without >= 0) return `rank ${without} has no NCCL library`;
  const [first, ...others] = offers;
  if (first === undefined) return undefined;
  for (const [index, other] of others.entries()) checkSums(first, other, index + 1);
  for (const [index, other] of others.entries()) {
    const rank = index + 1;
    if (other.library !== first.library || other.devices !== first.devices) {
      const describe = (offer: Offer) => `${offer.library} on ${offer.devices} devices`;
      return `rank 0 has ${describe(first)}, rank ${rank} has ${describe(other)}`;
    }
    for (const [each, [name, , shard]] of first.sums.entries()) {
      const theirs = other.sums[each]?.[2];
      if (theirs !== shard)
        return `rank 0 holds ${name} in shards of ${shard} elements, rank ${rank} in shards of ${theirs}`;
    }
  }
  return undefined;
}

/** @throws WeftError `invalid_argument` where two ranks would sum different arrays */
function checkSums(first: Offer, other: Offer, rank: number): void {
  const wrong = (message: string) =>
    new WeftError('invalid_argument', message, {
      hint: 'run the same version of weft with the same configuration on every worker',
    });
  const counts = [first.sums.length, other.sums.length];
  for (const [index, [name, array]] of first.sums.entries()) {
    const [theirName, theirArray] = other.sums[index] ?? [name, array];
    if (theirName !== name || theirArray !== array)
      throw wrong(`rank 0 sums ${name} as ${array}, rank ${rank} sums ${theirName} as ${theirArray}`);
  }
  if (counts[0] !== counts[1]) throw wrong(`rank 0 sums ${counts[0]} arrays, rank ${rank} sums ${counts[1]}`);
}

/** The communicators, which end with the ring: a rank that waits for one that is gone would wait for ever. */
class RingedDeviceGroup implements DeviceGroup {
  readonly description: string;
  readonly #communicators: Communicators;
  /** By name: elements of a shard. */
  readonly #shards: ReadonlyMap<string, number>;
  #running: Promise<unknown> = Promise.resolve();

  constructor(
    description: string,
    communicators: Communicators,
    ring: Pick<ProcessGroup, 'broken'>,
    sums: readonly DeviceSum[],
  ) {
    this.description = description;
    this.#communicators = communicators;
    this.#shards = new Map(sums.map(({ name, shard }) => [name, shard]));
    void ring.broken.then(async (error) => {
      await settlesWithin(this.#running, FINISH_MS);
      await communicators.close(error);
    });
  }

  get stats(): TransferStats {
    return this.#communicators.stats;
  }

  async allReduceSum(name: string, spans: readonly DeviceSpan[]): Promise<void> {
    const shard = this.#shards.get(name);
    for (const { elements } of spans) {
      if (elements !== shard) refuse('internal', `${elements} elements of ${name}, of which a device holds ${shard}`);
    }
    return this.#run(this.#communicators.allReduceSum(spans));
  }

  exchange(sends: readonly DeviceTransfer[], receives: readonly DeviceTransfer[]): Promise<void> {
    return this.#run(this.#communicators.exchange(sends, receives));
  }

  close(): Promise<void> {
    return this.#communicators.close(new WeftError('cancelled', `the group over ${this.description} is closed`));
  }

  #run(operation: Promise<void>): Promise<void> {
    this.#running = operation.catch(() => {});
    return operation;
  }
}
