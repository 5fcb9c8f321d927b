import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, type Output, withSettings } from './weft.js';

/** A CLIP-like encoder and a Llama-like decoder, tiny, for machines without TensorFlow. */
const MODEL = {
  'engine.backend': 'javascript',
  'model.vision.classToken': 'true',
  'model.vision.inputNorm': 'true',
  'model.vision.patchBias': 'false',
  'model.vision.keyBias': 'true',
  'model.decoder.headWidth': 12,
  'model.decoder.tiedEmbeddings': 'true',
};

let home: Home;
const at = (...names: string[]) => join(home.path, ...names);
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

async function weft(...words: string[]): Promise<Output> {
  const output = await home.weft(...words);
  expect(output.code, `weft ${words.join(' ')}\n${output.stderr}`).toBe(0);
  return output;
}

const weightsOf = (folder: string) => readFile(at(folder, 'model.safetensors'));

describe('a run whose encoder and decoder were imported', () => {
  it('trains, is resumed, exported and asked, and leaves a frozen encoder as it was', async () => {
    const teacher = await home.train('debugNano', 1, { ...MODEL, steps: 2 });
    for (const part of ['vision', 'decoder']) {
      await weft('weights', 'export', teacher, '--out', at('public', part), '--part', part);
      await weft('weights', 'import', at('public', part), '--out', at('weights', part));
    }
    const settings = {
      ...MODEL,
      steps: 2,
      'model.connector.kind': 'attentionPool',
      'optimizer.learningRateFactors.vision': 0,
      'optimizer.learningRateFactors.connector': 2,
    };
    const initFrom = ['vision', 'decoder'].flatMap((part) => ['--init-from', `${part}=${at('weights', part)}`]);
    const run = home.start('launch', 'debugNano', '--local', '1', ...initFrom, ...withSettings(settings));
    const id = await run.runId();
    expect((await run.ended).code).toBe(0);
    await weft('resume', id, '--steps', '3', '--local', '1');
    expect(home.metrics(id).map(({ step }) => step)).toEqual([1, 2, 3]);

    for (const part of ['all', 'vision', 'decoder'])
      await weft('weights', 'export', id, '--out', at(part), '--part', part);
    expect((await weightsOf('vision')).equals(await weightsOf('public/vision'))).toBe(true);
    expect((await weightsOf('decoder')).equals(await weightsOf('public/decoder'))).toBe(false);
    expect(await readdir(at('all'))).toEqual(['config.json', 'model.safetensors', 'preprocessor_config.json']);
    // Encoder and decoder come out of the whole as they do alone.
    await weft('weights', 'import', at('all'), '--out', at('again'));
    for (const part of ['vision', 'decoder']) {
      await weft('weights', 'export', at('again'), '--out', at('again', part), '--part', part);
      expect((await weightsOf(`again/${part}`)).equals(await weightsOf(part)), part).toBe(true);
    }
    const answer = JSON.parse((await weft('generate', id, '--prompt', 'a', '--max-tokens', '4', '--json')).stdout);
    expect(answer).toMatchObject({ step: 3 });
  });

  it('is refused before anything starts when they do not fit', async () => {
    const runs = await readdir(at('runs'));
    const initFrom = [
      '--init-from',
      `decoder=${at('weights/decoder')}`,
      ...withSettings({ ...MODEL, 'model.decoder.depth': 1 }),
    ];
    for (const how of [['--dry-run'], ['--local', '1']]) {
      const said = await home.weft('launch', 'debugNano', ...how, ...initFrom);
      expect(said.code).not.toBe(0);
      expect(said.stderr).toMatch(
        /cannot begin from checkpoint .*: it holds decoder\/layers\/1\/attentionNorm, .*which the model does not have/,
      );
    }
    expect(await readdir(at('runs'))).toEqual(runs);
  });
});
