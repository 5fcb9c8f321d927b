import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { type BlobStore, diskStore } from '@weft/files';
import { MANIFEST_NAME } from './manifest.js';

const STEP_DIGITS = 8;

/** Where the checkpoint after `step` lies: "<run>/checkpoints/step-00000060". */
export function checkpointDirectory(runDirectory: string, step: number): string {
  if (!Number.isSafeInteger(step) || step < 0)
    throw new WeftError('invalid_argument', `a checkpoint cannot be of step ${step}`);
  return join(checkpointsFolder(runDirectory), `step-${String(step).padStart(STEP_DIGITS, '0')}`);
}

export function checkpointsFolder(runDirectory: string): string {
  return join(runDirectory, 'checkpoints');
}

/** The step of a folder name, `undefined` when it is not that of a checkpoint. */
function stepOf(name: string): number | undefined {
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
      const step = stepOf(name);
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
