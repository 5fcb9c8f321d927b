import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { CheckpointFile } from '@weft/contracts';
import { type Blob, type BlobStore, diskStore, withBlob } from '@weft/files';
import { MANIFEST_NAME, type Manifest, parseManifest } from './manifest.js';
import { type NamedTensor, readIndex, readTensor, type SafetensorsIndex, sha256Of } from './safetensors-file.js';
import { formatShape } from './safetensors-header.js';

const MAX_MANIFEST_BYTES = 256 * 2 ** 20;

/**
 * Reads the manifest of a checkpoint, without looking at its shards.
 *
 * @throws `not_found` when the folder is no checkpoint, `corrupt_data` or `version_mismatch` for a bad manifest.
 */
export async function readManifest(directory: string, store: BlobStore = diskStore): Promise<Manifest> {
  return parseManifest(await readManifestBytes(directory, store), join(directory, MANIFEST_NAME));
}

/** The SHA-256 of a manifest as it lies on disk, by which the next checkpoint refers to it. */
export async function manifestSha256(directory: string, store: BlobStore = diskStore): Promise<string> {
  return createHash('sha256')
    .update(await readManifestBytes(directory, store))
    .digest('hex');
}

/**
 * Checks a whole checkpoint, every byte of it: the manifest, and that each file has the size, the SHA-256 and the
 * tensors that the manifest says.
 *
 * @throws `not_found` when the folder is no checkpoint, `corrupt_data` naming the file and what is wrong with it.
 */
export async function verifyCheckpoint(directory: string, store: BlobStore = diskStore): Promise<Manifest> {
  const manifest = await readManifest(directory, store);
  for (const file of manifest.files) {
    const where = join(directory, file.name);
    await withShard(directory, file, store, async (blob) => {
      if ((await sha256Of(blob)) !== file.sha256)
        throw new WeftError('corrupt_data', `${where} is corrupt: its SHA-256 is not the one in the manifest`);
      matchTensors(manifest, file, await readIndex(blob, where), where);
    });
  }
  return manifest;
}

/**
 * All tensors of a checkpoint, one at a time, in the order of its files; the number of ranks that wrote it does not
 * matter. Does not check the SHA-256 again.
 *
 * @param isWanted which tensors to read; the others are passed over. Default: all.
 * @throws `corrupt_data` when a file is not what the manifest says.
 */
export async function* readTensors(
  directory: string,
  manifest: Manifest,
  isWanted: (name: string) => boolean = () => true,
  store: BlobStore = diskStore,
): AsyncGenerator<NamedTensor, void> {
  const wanted = new Set(manifest.tensors.filter(({ name }) => isWanted(name)).map(({ file }) => file));
  for (const file of manifest.files) {
    if (!wanted.has(file.name)) continue;
    const where = join(directory, file.name);
    const blob = await openShard(directory, file, store);
    try {
      const index = await readIndex(blob, where);
      matchTensors(manifest, file, index, where);
      for (const entry of index.tensors) if (isWanted(entry.name)) yield await readTensor(blob, index, entry, where);
    } finally {
      await blob.close();
    }
  }
}

async function readManifestBytes(directory: string, store: BlobStore): Promise<Uint8Array> {
  const path = join(directory, MANIFEST_NAME);
  try {
    return await withBlob(store, path, async (blob) => {
      if (blob.bytes > MAX_MANIFEST_BYTES)
        throw new WeftError('corrupt_data', `${path} is corrupt: ${blob.bytes} bytes are too many for a manifest`);
      const bytes = new Uint8Array(blob.bytes);
      await blob.read(bytes, 0);
      return bytes;
    });
  } catch (thrown) {
    if (!WeftError.is(thrown, 'not_found')) throw thrown;
    throw new WeftError('not_found', `${directory} is not a checkpoint: it has no ${MANIFEST_NAME}`, {
      cause: thrown,
      hint: 'name the folder of a checkpoint that was completed',
    });
  }
}

/** Opens a shard and checks its size. */
async function openShard(directory: string, file: CheckpointFile, store: BlobStore): Promise<Blob> {
  const path = join(directory, file.name);
  const blob = await store.open(path).catch((thrown: unknown) => {
    if (!WeftError.is(thrown, 'not_found')) throw thrown;
    throw new WeftError('corrupt_data', `${path} is missing, although the manifest lists it`, { cause: thrown });
  });
  if (blob.bytes === file.bytes) return blob;
  await blob.close();
  const how = blob.bytes < file.bytes ? 'truncated' : 'too long';
  throw new WeftError('corrupt_data', `${path} is ${how}: it has ${blob.bytes} bytes instead of ${file.bytes}`);
}

async function withShard(
  directory: string,
  file: CheckpointFile,
  store: BlobStore,
  use: (blob: Blob) => Promise<void>,
): Promise<void> {
  const blob = await openShard(directory, file, store);
  try {
    await use(blob);
  } finally {
    await blob.close();
  }
}

function matchTensors({ tensors }: Manifest, { name }: CheckpointFile, index: SafetensorsIndex, where: string): void {
  const describe = (dtype: string, shape: readonly number[]) => `${dtype} ${formatShape(shape)}`;
  const found = new Map(index.tensors.map((entry) => [entry.name, describe(entry.dtype, entry.shape)]));
  for (const tensor of tensors) {
    if (tensor.file !== name) continue;
    const expected = describe(tensor.dtype, tensor.shape);
    const actual = found.get(tensor.name) ?? 'missing';
    if (actual !== expected)
      throw new WeftError(
        'corrupt_data',
        `${where} is corrupt: tensor "${tensor.name}" is ${actual} instead of ${expected}`,
      );
    found.delete(tensor.name);
  }
  const [extra] = found.keys();
  if (extra !== undefined)
    throw new WeftError('corrupt_data', `${where} is corrupt: tensor "${extra}" is not in the manifest`);
}
