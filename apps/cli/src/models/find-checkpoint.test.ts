import { join } from 'node:path';
import { checkpointDirectory, writeManifest, writeShard } from '@weft/checkpoint';
import { recipe } from '@weft/recipes';
import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { findCheckpoint } from './find-checkpoint.js';

it.each([
  ['clip-tiny', 'contrastive'],
  ['aim-tiny', 'reconstructive'],
])('of %s no text is generated, and none scored', async (name, kind) => {
  await using home = await temporaryDirectory();
  const directory = checkpointDirectory(join(home.path, 'run'), 1);
  const tensors = [{ name: 'vision/norm/bias', shape: [1], data: Float32Array.of(1) }];
  const files = [await writeShard({ directory, rank: 0, worldSize: 1, tensors })];
  await writeManifest(directory, { runId: 'run', step: 1, nextSequence: 1, config: recipe(name), files });
  await expect(findCheckpoint(home.path, directory)).rejects.toMatchObject({
    code: 'failed_precondition',
    message: `${directory} trains an image encoder alone (task.kind is ${kind}), which has no decoder to continue texts`,
    hint: `begin a language model from it: weft launch <recipe> --init-from vision=${directory}`,
  });
});
