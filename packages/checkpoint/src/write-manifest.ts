import { dirname, join } from 'node:path';
import { WEFT_VERSION, WeftError } from '@weft/common';
import { type BlobStore, diskStore, withBlob } from '@weft/files';
import { type CheckpointTensor, encodeManifest, MANIFEST_NAME, type Manifest, parseManifest } from './manifest.js';
import { manifestSha256, readManifest } from './read-checkpoint.js';
import { completeCheckpoints, type StepDirectory } from './run-checkpoints.js';
import { readIndex } from './safetensors-file.js';
import { isShardName } from './shards.js';

/** The name a manifest gets when the run went on from an earlier step. */
const SUPERSEDED_NAME = 'manifest.superseded.json';

/** What the writer of a manifest has to say; the rest is found out. */
export type ManifestDraft = Pick<Manifest, 'runId' | 'step' | 'nextSequence' | 'config' | 'files'> &
  Partial<
    Pick<
      Manifest,
      'formatVersion' | 'weftVersion' | 'dataIdentity' | 'previousManifestSha256' | 'unhealthy' | 'createdAt'
    >
  >;

/**
 * Turns a folder of shards into a checkpoint, at once: to be called when all shards are on disk. Links the manifest
 * to that of the checkpoint before, and puts checkpoints of later steps, which a run leaves behind that was taken up
 * again at an earlier one, out of use.
 *
 * @returns the manifest as written, tensors and link included.
 * @throws `failed_precondition` when a shard is not there or not of the size its writer reported,
 *   `invalid_argument` for a tensor in two shards.
 */
export async function writeManifest(
  directory: string,
  draft: ManifestDraft,
  store: BlobStore = diskStore,
): Promise<Manifest> {
  const { runId, step, nextSequence, config, files } = draft;
  const tensors = await collectTensors(directory, files, store);
  const siblings = await completeCheckpoints(dirname(directory), store);
  const previous = await previousOf(siblings, draft, store);
  const manifest: Manifest = {
    formatVersion: 1,
    weftVersion: draft.weftVersion ?? WEFT_VERSION,
    runId,
    step,
    nextSequence,
    config,
    dataIdentity: draft.dataIdentity ?? null,
    files,
    tensors,
    previousStep: previous.step,
    previousManifestSha256: previous.sha256,
    unhealthy: draft.unhealthy ?? null,
    createdAt: draft.createdAt ?? new Date().toISOString(),
  };
  const bytes = encodeManifest(manifest);
  // Whatever cannot be read back must not be written.
  parseManifest(bytes, join(directory, MANIFEST_NAME));
  for (const later of siblings) if (later.step > step) await supersede(later.directory, store);
  await store.write(join(directory, MANIFEST_NAME), [bytes]);
  await removeLeftovers(directory, manifest, store);
  return manifest;
}

async function collectTensors(
  directory: string,
  files: Manifest['files'],
  store: BlobStore,
): Promise<readonly CheckpointTensor[]> {
  const tensors = new Map<string, CheckpointTensor>();
  for (const { name: file, bytes } of files) {
    const path = join(directory, file);
    const index = await withBlob(store, path, (blob) => {
      if (blob.bytes !== bytes) throw missingShard(path, `it has ${blob.bytes} bytes, and its rank wrote ${bytes}`);
      return readIndex(blob, path);
    }).catch((thrown: unknown) => {
      throw WeftError.is(thrown, 'not_found') ? missingShard(path, 'it does not exist') : thrown;
    });
    for (const { name, dtype, shape } of index.tensors) {
      const other = tensors.get(name);
      if (other !== undefined)
        throw new WeftError('invalid_argument', `tensor "${name}" is in ${other.file} and in ${file}`);
      tensors.set(name, { name, dtype, shape, file });
    }
  }
  return [...tensors.values()];
}

function missingShard(path: string, what: string): WeftError {
  return new WeftError('failed_precondition', `the checkpoint cannot be completed: ${path}: ${what}`, {
    hint: 'keep the run directory on a file system that all hosts share',
  });
}

async function previousOf(
  siblings: readonly StepDirectory[],
  { step, previousManifestSha256: given }: ManifestDraft,
  store: BlobStore,
): Promise<{ readonly step: number | null; readonly sha256: string | null }> {
  for (const sibling of siblings) {
    if (sibling.step >= step || given === null) continue;
    const sha256 = await manifestSha256(sibling.directory, store);
    if (given === undefined || given === sha256) return { step: sibling.step, sha256 };
  }
  return { step: null, sha256: given ?? null };
}

/** Shards of an attempt that failed, perhaps with another worldSize. */
async function removeLeftovers(directory: string, { files }: Manifest, store: BlobStore): Promise<void> {
  const listed = new Set(files.map(({ name }) => name));
  for (const name of await store.list(directory))
    if (isShardName(name) && !listed.has(name)) await store.remove(join(directory, name));
}

async function supersede(directory: string, store: BlobStore): Promise<void> {
  const manifest = await readManifest(directory, store).catch(() => undefined);
  if (manifest !== undefined) await store.write(join(directory, SUPERSEDED_NAME), [encodeManifest(manifest)]);
  await store.remove(join(directory, MANIFEST_NAME));
}
