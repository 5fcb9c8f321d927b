import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { type BlobStore, diskStore } from '@weft/files';
import { MANIFEST_NAME, type Manifest } from './manifest.js';
import { checkManifest, readManifest, verifyCheckpoint } from './read-checkpoint.js';

const STEP_DIGITS = 8;

/** Where the checkpoint after `step` lies: "<run>/checkpoints/step-00000060". */
export function checkpointDirectory(runDirectory: string, step: number): string {
  if (!Number.isSafeInteger(step) || step < 0)
    throw new WeftError('invalid_argument', `a checkpoint cannot be of step ${step}`);
  return join(checkpointsFolder(runDirectory), `step-${String(step).padStart(STEP_DIGITS, '0')}`);
}

/** The folder of all checkpoints of a run. */
export function checkpointsFolder(runDirectory: string): string {
  return join(runDirectory, 'checkpoints');
}

/** The step of a folder name, `undefined` when it is not that of a checkpoint. */
function parseStep(name: string): number | undefined {
  const digits = /^step-(\d{8,15})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Folder of a checkpoint, complete or not. */
export interface StepDirectory {
  readonly step: number;
  readonly directory: string;
}

/** The checkpoint folders below a folder, newest step first. */
export async function stepDirectories(folder: string, store: BlobStore = diskStore): Promise<readonly StepDirectory[]> {
  return (await store.list(folder))
    .flatMap((name) => {
      const step = parseStep(name);
      return step === undefined ? [] : [{ step, directory: join(folder, name) }];
    })
    .sort((a, b) => b.step - a.step);
}

/** The checkpoints below a folder that have a manifest, newest first. */
export async function completeCheckpoints(folder: string, store: BlobStore): Promise<readonly StepDirectory[]> {
  const complete: StepDirectory[] = [];
  for (const candidate of await stepDirectories(folder, store))
    if ((await store.list(candidate.directory)).includes(MANIFEST_NAME)) complete.push(candidate);
  return complete;
}

export interface NewestCheckpoint {
  /** Missing when no checkpoint verifies. */
  readonly checkpoint?: { readonly directory: string; readonly manifest: Manifest };
  /** What is newer but cannot be used, newest first, with a sentence why. */
  readonly skipped: readonly SkippedCheckpoint[];
}

export interface SkippedCheckpoint {
  readonly directory: string;
  readonly reason: string;
  /** Its bytes are whole, but it may hold a broken model. */
  readonly isUnhealthy: boolean;
}

/** The checkpoints from a step on may hold a broken model, also where their manifests do not say so. */
export interface UnhealthySteps {
  readonly fromStep: number;
  readonly reason: string;
}

/** What the log of a run says of its checkpoints. */
export interface LoggedCheckpoints {
  readonly unhealthy?: UnhealthySteps | undefined;
  /** SHA-256 of manifests by step: one that is another now is not the checkpoint that was saved. */
  readonly written?: ReadonlyMap<number, string>;
}

/** Finds the newest checkpoint of a run of which every byte verifies and against which nothing speaks. */
export async function newestCheckpoint(
  runDirectory: string,
  store: BlobStore = diskStore,
  { unhealthy, written = new Map() }: LoggedCheckpoints = {},
): Promise<NewestCheckpoint> {
  const skipped: SkippedCheckpoint[] = [];
  const links = new Map<number, Link>();
  for (const candidate of await stepDirectories(checkpointsFolder(runDirectory), store)) {
    const { directory } = candidate;
    try {
      const manifest = await verifyCheckpoint(directory, store);
      await checkManifest(directory, written.get(candidate.step), undefined, store);
      await checkOrigin(candidate, manifest, links.get(candidate.step), store);
      const isBeyond = unhealthy !== undefined && manifest.step >= unhealthy.fromStep;
      const reason = manifest.unhealthy ?? (isBeyond ? unhealthy.reason : undefined);
      if (reason === undefined) return { checkpoint: { directory, manifest }, skipped };
      skipped.push({ directory, reason, isUnhealthy: true });
    } catch (thrown) {
      skipped.push({ directory, reason: WeftError.from(thrown).message, isUnhealthy: false });
      await recordLink(candidate, links, store);
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
async function recordLink(
  { step, directory }: StepDirectory,
  links: Map<number, Link>,
  store: BlobStore,
): Promise<void> {
  const manifest = await readManifest(directory, store).catch(() => undefined);
  const { previousStep = null, previousManifestSha256: sha256 = null } = manifest ?? {};
  if (previousStep !== null && sha256 !== null) links.set(previousStep, { from: step, sha256 });
}

async function checkOrigin(
  { step, directory }: StepDirectory,
  manifest: Manifest,
  link: Link | undefined,
  store: BlobStore,
): Promise<void> {
  if (manifest.step !== step)
    throw new WeftError('corrupt_data', `${directory} holds a checkpoint of step ${manifest.step}`);
  if (link !== undefined) await checkManifest(directory, link.sha256, `step ${link.from} was saved`, store);
}

/** Which checkpoints are kept. */
export interface KeptCheckpoints {
  readonly keepLast: number;
  /** Those of every so many steps are kept for good; 0, the default: none. */
  readonly keepEvery?: number;
}

/**
 * Removes old checkpoints: all but the newest `keepLast` and those of every `keepEvery` steps, and never the newest that verifies
 * and is healthy. Folders without a
 * manifest go too when a newer checkpoint verifies; one of a later step may still be in the making.
 *
 * @returns the folders removed.
 * @throws `invalid_argument` when `keepLast` is not a positive integer.
 */
export async function pruneCheckpoints(
  runDirectory: string,
  { keepLast, keepEvery = 0 }: KeptCheckpoints,
  store: BlobStore = diskStore,
): Promise<string[]> {
  if (!Number.isSafeInteger(keepLast) || keepLast < 1)
    throw new WeftError('invalid_argument', `keepLast must be a positive integer, not ${keepLast}`);
  const folder = checkpointsFolder(runDirectory);
  const complete = await completeCheckpoints(folder, store);
  const completeSteps = new Set(complete.map(({ step }) => step));
  const incomplete = (await stepDirectories(folder, store)).filter(({ step }) => !completeSteps.has(step));
  const isKept = (step: number) => keepEvery > 0 && step % keepEvery === 0;
  const old = complete.slice(keepLast).filter(({ step }) => !isKept(step));
  if (old.length === 0 && incomplete.length === 0) return [];
  const { checkpoint, skipped } = await newestCheckpoint(runDirectory, store);
  // Where nothing verifies, nothing may be removed; a run that has diverged has checkpoints to spare.
  if (checkpoint === undefined && !skipped.some(({ isUnhealthy }) => isUnhealthy)) return [];
  const removable = [
    ...old.filter(({ directory }) => directory !== checkpoint?.directory),
    ...incomplete.filter(({ step }) => checkpoint !== undefined && step < checkpoint.manifest.step),
  ].sort((a, b) => a.step - b.step);
  for (const { directory } of removable) {
    // First the manifest: what is half removed must not look like a checkpoint.
    await store.remove(join(directory, MANIFEST_NAME));
    await store.remove(directory);
  }
  return removable.map(({ directory }) => directory);
}
