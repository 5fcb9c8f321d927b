import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { CheckpointFile } from '@weft/contracts';
import { type BlobStore, diskStore } from '@weft/files';
import { assignShards } from '@weft/topology';
import { MANIFEST_NAME } from './manifest.js';
import { fileHeader, type NamedTensor, writeSafetensors } from './safetensors-file.js';
import { elementCount, formatShape } from './safetensors-header.js';
import { encodeTensors, type StreamedTensor } from './weights-file.js';

export interface WriteShardOptions {
  /** The folder of the checkpoint, see `checkpointDirectory`; made where it does not exist. */
  readonly directory: string;
  readonly rank: number;
  readonly worldSize: number;
  /** Exactly what this rank writes, see `shardTensors`. Their data must not change until the promise settles. */
  readonly tensors: readonly (NamedTensor | StreamedTensor)[];
}

/** "shard-00000-of-00002.safetensors" */
export function shardName(rank: number, worldSize: number): string {
  return `shard-${String(rank).padStart(5, '0')}-of-${String(worldSize).padStart(5, '0')}.safetensors`;
}

/** Whether a file is a shard, of any worldSize, or the beginning of one whose writer was killed. */
export function isShardName(name: string): boolean {
  return /^\.?shard-\d{5,}-of-\d{5,}\.safetensors(\.\d+\.tmp)?$/.test(name);
}

/**
 * The names of the tensors that `rank` writes, in the order given: whole tensors, shared out so that all ranks write
 * about the same number of bytes. Every rank comes to the same plan from the same list.
 */
export function shardTensors(
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
  rank: number,
  worldSize: number,
): readonly string[] {
  const sizes = tensors.map(({ name, shape }) => elementCount(name, shape) * 4);
  const ranks = assignShards(sizes, worldSize);
  return tensors.filter((_, index) => ranks[index] === rank).map(({ name }) => name);
}

/**
 * Writes one rank's shard; it is on disk for good when this resolves. Until the manifest is written, it is part of no
 * checkpoint: a manifest that lies in the folder already is removed first.
 *
 * @throws `invalid_argument` for tensors that contradict themselves, `failed_precondition` when the disk is full.
 */
export async function writeShard(options: WriteShardOptions, store: BlobStore = diskStore): Promise<CheckpointFile> {
  const { directory, rank, worldSize, tensors } = options;
  if (!Number.isSafeInteger(rank) || rank < 0 || !(rank < worldSize))
    throw new WeftError('invalid_argument', `rank ${rank} is not one of the ranks 0 to ${worldSize - 1}`);
  const streams = tensors.map((tensor) => ('data' in tensor ? streamed(tensor) : tensor));
  // What contradicts itself is refused before anything is touched.
  fileHeader(streams);
  if ((await store.list(directory)).includes(MANIFEST_NAME)) await store.remove(join(directory, MANIFEST_NAME));
  const name = shardName(rank, worldSize);
  return { name, ...(await writeSafetensors(store, join(directory, name), encodeTensors(streams))) };
}

/** @throws `invalid_argument` for a tensor whose data does not fit its shape */
function streamed({ name, shape, data }: NamedTensor): StreamedTensor {
  const count = elementCount(name, shape);
  if (count === data.length) return { name, shape, values: () => [data] };
  throw new WeftError(
    'invalid_argument',
    `tensor "${name}" of shape ${formatShape(shape)} has ${data.length} values instead of ${count}`,
  );
}
