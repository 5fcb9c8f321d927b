import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  checkpointDirectory,
  checkpointsFolder,
  type Manifest,
  newestCheckpoint,
  readManifest,
  stepDirectories,
} from '@weft/checkpoint';
import { chooseRun, listRunIds } from '@weft/client';
import { WeftError } from '@weft/common';
import { applySettings, isEncoderTask, type RunConfig, resolveRunConfig } from '@weft/config';
import { Home } from '@weft/files';

/** A checkpoint to look at, and the run it comes from as it is configured there. */
export interface FoundCheckpoint {
  readonly directory: string;
  readonly manifest: Manifest;
  readonly config: RunConfig;
}

/** Which checkpoint, and what to change in its configuration. */
export interface CheckpointChoice {
  /** Default: the newest that is whole. */
  readonly step?: number;
  /** `--set`: how it is read here, such as engine.backend=javascript. */
  readonly set?: readonly string[];
}

/**
 * Finds a checkpoint: `text` is its folder, the folder of a run, or a run of the home by its id, as for other commands.
 * The run may be under way, or of another machine that shares the home's files.
 * @throws WeftError `not_found` when there is none, naming the steps that there are; `corrupt_data` for a damaged one;
 *         `failed_precondition` for one of an image encoder alone
 */
export async function findCheckpoint(
  home: string,
  text: string,
  { step, set = [] }: CheckpointChoice = {},
): Promise<FoundCheckpoint> {
  const directory = await findCheckpointFolder(home, text, step);
  const manifest = await readManifest(directory);
  const config = resolveRunConfig(applySettings(manifest.config, set), `the run of ${directory}`);
  if (isEncoderTask(config.task))
    throw new WeftError(
      'failed_precondition',
      `${text} trains an image encoder alone (task.kind is ${config.task.kind}), which has no decoder to continue texts`,
      { hint: `begin a language model from it: weft launch <recipe> --init-from vision=${directory}` },
    );
  return { directory, manifest, config };
}

/** The folder of a checkpoint, which may be of weights that were imported. As `findCheckpoint`. */
export async function findCheckpointFolder(home: string, text: string, step?: number): Promise<string> {
  const path = resolve(text);
  if (await isComplete(path)) {
    if (step === undefined) return path;
    throw new WeftError('invalid_argument', `${text} is one checkpoint, so that no step can be chosen`, {
      hint: 'name its run instead, or leave --step out',
    });
  }
  const runDirectory = (await exists(checkpointsFolder(path)))
    ? path
    : new Home(home).runDirectory(chooseRun(text, await listRunIds(home)));
  if (step === undefined) return newestOf(runDirectory);
  const directory = checkpointDirectory(runDirectory, step);
  if (await isComplete(directory)) return directory;
  const steps = (await stepDirectories(checkpointsFolder(runDirectory))).map((each) => each.step).toReversed();
  throw new WeftError('not_found', `${runDirectory} has no checkpoint of step ${step}`, {
    hint: steps.length === 0 ? 'it has none yet' : `there are ${steps.join(', ')}`,
  });
}

async function newestOf(runDirectory: string): Promise<string> {
  const newestStep = async () => (await stepDirectories(checkpointsFolder(runDirectory)))[0]?.step;
  const before = await newestStep();
  const { checkpoint, skipped } = await newestCheckpoint(runDirectory);
  if (checkpoint !== undefined) return checkpoint.directory;
  // A run under way may have removed what was being read, after it had saved a newer one.
  if ((await newestStep()) !== before) return newestOf(runDirectory);
  const [damaged] = skipped;
  throw new WeftError(
    'not_found',
    damaged === undefined
      ? `${runDirectory} has no checkpoint yet`
      : `${runDirectory} has no checkpoint that is whole: ${damaged.reason}`,
    { hint: 'a run saves one every checkpoint.everySteps steps, and when it is stopped' },
  );
}

/** Whether a checkpoint is still there: that of a run under way may be removed when newer ones are written. */
export function isComplete(directory: string): Promise<boolean> {
  return exists(join(directory, 'manifest.json'));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
