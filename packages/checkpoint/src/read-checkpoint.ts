import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { CheckpointFile } from '@weft/contracts';
import { type Blob, type BlobStore, diskStore, withBlob } from '@weft/files';
import { type CheckpointTensor, MANIFEST_NAME, type Manifest, parseManifest } from './manifest.js';
import { type NamedTensor, readIndex, readValues, type SafetensorsIndex, sha256Of } from './safetensors-file.js';
import { elementCount, formatShape, type TensorEntry } from './safetensors-header.js';

const MAX_MANIFEST_BYTES = 64 * 2 ** 20;

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
 * Checks that a manifest is the one that was written.
 *
 * @param sha256 of it; undefined: unknown, and nothing is checked
 * @param when it had this hash, for the sentence
 * @throws `corrupt_data` when it was changed since
 */
export async function checkManifest(
  directory: string,
  sha256: string | undefined,
  when = 'it was written',
  store: BlobStore = diskStore,
): Promise<void> {
  if (sha256 !== undefined && sha256 !== (await manifestSha256(directory, store)))
    throw new WeftError('corrupt_data', `the manifest in ${directory} was changed after ${when}`);
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
  const reader = new CheckpointReader(directory, manifest, store);
  try {
    for (const { name, shape } of await reader.inOrder(isWanted)) {
      const data = new Float32Array(elementCount(name, shape));
      await reader.read(name, 0, data);
      yield { name, shape, data };
    }
  } finally {
    await reader.close();
  }
}

/** A file of a checkpoint whose header is read. */
interface OpenFile {
  readonly blob: Blob;
  readonly index: SafetensorsIndex;
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly where: string;
}

/**
 * Reads what is asked for out of a checkpoint, whatever number of ranks wrote it; files are opened when they are first
 * needed. Does not check the SHA-256 again.
 */
export class CheckpointReader {
  readonly #directory: string;
  readonly #manifest: Manifest;
  readonly #store: BlobStore;
  readonly #files = new Map<string, Promise<OpenFile>>();
  readonly #tensors: ReadonlyMap<string, CheckpointTensor>;

  constructor(directory: string, manifest: Manifest, store: BlobStore = diskStore) {
    this.#directory = directory;
    this.#manifest = manifest;
    this.#store = store;
    this.#tensors = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
  }

  /** The tensors in the order in which they lie in the files. @throws `corrupt_data` as `read`. */
  async inOrder(isWanted: (name: string) => boolean): Promise<readonly Pick<CheckpointTensor, 'name' | 'shape'>[]> {
    const wanted = new Set(this.#manifest.tensors.filter(({ name }) => isWanted(name)).map(({ file }) => file));
    const ordered: TensorEntry[] = [];
    for (const { name } of this.#manifest.files) {
      if (!wanted.has(name)) continue;
      const { index } = await this.#open(name);
      ordered.push(...index.tensors.filter((entry) => isWanted(entry.name)));
    }
    return ordered;
  }

  /**
   * Reads values of a tensor.
   * @param first the first of them, row-major
   * @param target is filled
   * @throws `not_found` for a tensor that the checkpoint does not have, `corrupt_data` when a file is not what the
   *         manifest says or the tensor ends too early.
   */
  async read(name: string, first: number, target: Float32Array): Promise<void> {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw new WeftError('not_found', `${this.#directory} has no tensor "${name}"`);
    const { blob, index, entries, where } = await this.#open(tensor.file);
    const entry = entries.get(name);
    if (entry === undefined || entry.begin + 4 * (first + target.length) > entry.end)
      throw new WeftError('corrupt_data', `${where} is corrupt: tensor "${name}" ends before it should`);
    await readValues(blob, index, entry, first, target, where);
  }

  async close(): Promise<void> {
    const files = await Promise.allSettled(this.#files.values());
    this.#files.clear();
    await Promise.all(files.map((file) => (file.status === 'fulfilled' ? file.value.blob.close() : undefined)));
  }

  #open(name: string): Promise<OpenFile> {
    const known = this.#files.get(name) ?? this.#openFile(name);
    this.#files.set(name, known);
    return known;
  }

  async #openFile(name: string): Promise<OpenFile> {
    const file = this.#manifest.files.find((each) => each.name === name);
    const where = join(this.#directory, name);
    if (file === undefined) throw new WeftError('corrupt_data', `${where} is not in the manifest`);
    const blob = await openShard(this.#directory, file, this.#store);
    try {
      const index = await readIndex(blob, where);
      matchTensors(this.#manifest, file, index, where);
      return { blob, index, entries: new Map(index.tensors.map((entry) => [entry.name, entry])), where };
    } catch (thrown) {
      await blob.close();
      throw thrown;
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
