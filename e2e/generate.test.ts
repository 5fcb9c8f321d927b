import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pngPicture } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENDLESS, Home, type Output, withSettings } from './weft.js';

let home: Home;
let runId: string;
const at = (name: string) => join(home.path, name);
beforeAll(async () => {
  home = await Home.make();
  runId = await home.train('debugNano', 1, { steps: 4, 'checkpoint.everySteps': 2, 'engine.backend': 'javascript' });
  const isInside = (x: number, y: number) => x >= 2 && x < 9 && y >= 4 && y < 13;
  await writeFile(
    at('a.png'),
    pngPicture(16, 16, (x, y) => (isInside(x, y) ? [0, 0, 255] : [255, 255, 255])),
  );
});
afterAll(() => home.remove());

const PROMPT = ['--prompt', 'See <image> and', '--image', 'a.png', '--max-tokens', '8'];

/** Runs `weft generate`; images are files of the home. */
function generate(model: string, ...args: string[]): Promise<Output> {
  const words = args.map((word, i) => (args[i - 1] === '--image' ? at(word) : word));
  return home.weft('generate', model, ...words);
}

async function answer(model: string, ...args: string[]): Promise<{ step: number; text: string; tokens: number }> {
  const said = await generate(model, ...args, '--json');
  expect(said.code, said.stderr).toBe(0);
  return JSON.parse(said.stdout);
}

describe('weft generate', () => {
  it('continues texts and images, the same on every backend, from the newest checkpoint or one that is named', async () => {
    const newest = await answer(runId, ...PROMPT);
    expect(newest).toMatchObject({ step: 4, tokens: 8 });
    expect(await answer(runId, ...PROMPT, '--set', 'engine.backend=tensorflow')).toMatchObject({ text: newest.text });
    const folder = join(home.runDirectory(runId), 'checkpoints/step-00000002');
    expect((await answer(folder, ...PROMPT)).text).toBe((await answer('last', ...PROMPT, '--step', '2')).text);
    const streamed = await generate(runId, ...PROMPT);
    expect(streamed.stdout).toBe(newest.text.endsWith('\n') ? newest.text : `${newest.text}\n`);
  });

  it('continues a file of prompts as it continues each alone, and goes on where it was interrupted', async () => {
    const lines = [
      { prompt: 'See <image> and', images: ['a.png'] },
      { prompt: 'no' },
      { prompt: '<image>', images: [] },
      { prompt: ['x', { image: 'a.png' }] },
    ];
    await writeFile(at('in.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const batch = (output: string, ...args: string[]) =>
      generate(runId, '--input', at('in.jsonl'), '--output', at(output), '--max-tokens', '8', ...args);
    const said = await batch('out.jsonl', '--temperature', '0.7');
    expect(said.code).toBe(1);
    expect(said.stderr).toContain('in.jsonl:3: the prompt has 1 <image> mark, but 0 images came with it');
    const answers = await readFile(at('out.jsonl'), 'utf8');
    expect(answers.split('\n').map((line) => line.slice(0, 11))).toEqual(
      [1, 2, 3, 4, ''].map((n) => (n === '' ? '' : `{"line":${n},"`).slice(0, 11)),
    );
    await writeFile(at('cut.jsonl'), answers.slice(0, answers.indexOf('\n') + 20));
    expect((await batch('cut.jsonl', '--temperature', '0.7', '--resume', '--batch', '2')).code).toBe(1);
    expect(await readFile(at('cut.jsonl'), 'utf8')).toBe(answers);
    await batch('greedy.jsonl');
    const [first] = (await readFile(at('greedy.jsonl'), 'utf8')).split('\n');
    expect(JSON.parse(first ?? '').text).toBe((await answer(runId, ...PROMPT)).text);
  });

  it('continues with the newest checkpoint of a run under way', async () => {
    // Enough of them are kept that none is removed while it is read.
    const checkpoints = { 'checkpoint.everySteps': 4, 'checkpoint.keepLast': 1000 };
    const settings = { ...ENDLESS, ...checkpoints, 'engine.backend': 'javascript' };
    const run = home.start('launch', 'debugNano', '--local', '1', ...withSettings(settings));
    const underWay = await run.runId();
    await home.untilCheckpoint(underWay, 4);
    expect((await answer(underWay, ...PROMPT)).step).toBeGreaterThanOrEqual(4);
    await run.interrupt();
  });

  it('refuses what cannot be in one sentence', async () => {
    const vocabulary = Object.fromEntries(Array.from({ length: 300 }, (_, id) => [id === 0 ? '</s>' : `w${id}`, id]));
    const model = { type: 'WordLevel', vocab: vocabulary, unk_token: '</s>' };
    const tokenizer = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: null,
      model,
    };
    await writeFile(at('tokenizer.json'), JSON.stringify(tokenizer));
    await writeFile(at('broken.png'), 'not a picture');
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [['--prompt', 'x', '--image', 'broken.png'], /broken\.png cannot be decoded/],
      [['--prompt', 'x'.repeat(1000)], /takes 1000 positions .* but model\.sequenceLength is \d+/],
      [['--prompt', 'x', '--step', '3'], /no checkpoint of step 3: there are 2, 4/],
      [['--prompt', 'x', '--set', 'model.decoder.feedForwardWidth=99'], /is of another model: decoder.*99/],
      [['--prompt', 'x', '--set', `data.tokenizer=${at('tokenizer.json')}`], /has 300 tokens/],
    ];
    for (const [args, expected] of cases) {
      const said = await generate(runId, ...args);
      expect(said.code, args.join(' ')).not.toBe(0);
      const errors = said.stderr.split('\n').filter((line) => line.startsWith('error: '));
      expect(errors, said.stderr).toHaveLength(1);
      expect(errors[0]).toMatch(expected);
    }
  });
});
