import { WeftError } from '@weft/common';
import type { BlobStore } from '@weft/files';
import { diskStore } from '@weft/files';
import { checkpointsFolder, type StepDirectory, stepDirectories } from './directories.js';
import type { Manifest } from './manifest.js';
import { manifestSha256, readManifest, verifyCheckpoint } from './read-checkpoint.js';

export interface NewestCheckpoint {
  /** Missing when no checkpoint verifies. */
  readonly checkpoint?: { readonly directory: string; readonly manifest: Manifest };
  /** What is newer but cannot be used, newest first, with a sentence why. */
  readonly skipped: readonly { readonly directory: string; readonly reason: string }[];
}

/** Finds the newest checkpoint of a run of which every byte verifies. */
export async function newestCheckpoint(runDirectory: string, store: BlobStore = diskStore): Promise<NewestCheckpoint> {
  const skipped: { directory: string; reason: string }[] = [];
  const links = new Map<number, Link>();
  for (const candidate of await stepDirectories(checkpointsFolder(runDirectory), store)) {
    const { directory } = candidate;
    try {
      const manifest = await verifyCheckpoint(directory, store);
      await checkPlace(candidate, manifest, links.get(candidate.step), store);
      return { checkpoint: { directory, manifest }, skipped };
    } catch (thrown) {
      skipped.push({ directory, reason: WeftError.from(thrown).message });
      await noteLink(candidate, links, store);
    }
  }
  return { skipped };
}

/** What a newer manifest says about the one it follows. */
interface Link {
  readonly from: number;
  readonly sha256: string;
}

/** A newer checkpoint may be unusable, but what its manifest says about the one before still holds. */
async function noteLink({ step, directory }: StepDirectory, links: Map<number, Link>, store: BlobStore): Promise<void> {
  const manifest = await readManifest(directory, store).catch(() => undefined);
  const { previousStep = null, previousManifestSha256: sha256 = null } = manifest ?? {};
  if (previousStep !== null && sha256 !== null) links.set(previousStep, { from: step, sha256 });
}

async function checkPlace(
  { step, directory }: StepDirectory,
  manifest: Manifest,
  link: Link | undefined,
  store: BlobStore,
): Promise<void> {
  if (manifest.step !== step)
    throw new WeftError('corrupt_data', `${directory} holds a checkpoint of step ${manifest.step}`);
  if (link !== undefined && link.sha256 !== (await manifestSha256(directory, store)))
    throw new WeftError('corrupt_data', `the manifest in ${directory} was changed after step ${link.from} was saved`);
}
