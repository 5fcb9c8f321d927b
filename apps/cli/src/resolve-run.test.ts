import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { resolveRun, withAbsolutePaths } from './resolve-run.js';

async function file(directory: string, text: string): Promise<string> {
  const path = join(directory, 'run.yaml');
  await writeFile(path, text);
  return path;
}

describe('a run', () => {
  it('is a recipe with the settings of the command line on top, the last one winning', async () => {
    const config = await resolveRun('debugTiny', { steps: 5, workers: 3, set: ['seed=1', 'seed=2', 'steps=7'] });
    expect(config).toMatchObject({ recipe: 'debugTiny', steps: 7, workers: 3, seed: 2 });
  });

  it('is a file that starts from a recipe', async () => {
    await using directory = await temporaryDirectory();
    const path = await file(directory.path, 'recipe: debugTiny\noptimizer:\n  learningRate: 1.0e-3\n');
    const config = await resolveRun(path, { set: ['steps=9'] });
    expect(config).toMatchObject({ recipe: 'debugTiny', steps: 9, optimizer: { learningRate: 1e-3, clipNorm: 1 } });
    // The house rule follows the learning rate of the file, not that of the recipe.
    expect(config.optimizer.weightDecay).toBeCloseTo(1e-4, 12);
  });

  it('may have sources of its own, as the example in docs/examples', async () => {
    const example = fileURLToPath(new URL('../../../docs/examples/own-sources.yaml', import.meta.url));
    const { sources, weights } = (await resolveRun(example)).data;
    expect(Object.entries(sources)).toEqual([
      ['photos', 'captioned'],
      ['paintings', 'captioned'],
      ['articles', 'interleaved'],
      ['books', 'text'],
    ]);
    expect(Object.values(weights)).toEqual([4, 2, 3, 1]);
    const set = ['data.weights=1:1', 'data.sources.web=text', 'data.sources.art=captioned'];
    expect((await resolveRun('debugTiny', { set })).data.weights).toEqual({ web: 1, art: 1 });
  });

  it('names the line of a file that is wrong, and the recipe that was meant', async () => {
    await using directory = await temporaryDirectory();
    const typo = await file(directory.path, 'recipe: debugTiny\nmodel:\n  decoder:\n    widht: 64\n');
    await expect(resolveRun(typo)).rejects.toThrow(/run\.yaml:4: .*widht.*width/);
    const base = await file(directory.path, '# a run\nrecipe: debugTinny\n');
    await expect(resolveRun(base)).rejects.toMatchObject({
      code: 'not_found',
      message: `${base}:2: there is no recipe "debugTinny"`,
      hint: expect.stringContaining('recipe: debugTiny'),
    });
  });

  it('keeps its data beside its home, wherever that is', async () => {
    const config = await resolveRun('debugTiny');
    expect(withAbsolutePaths(config, '/srv/weft').data).toMatchObject({
      directory: '/srv/weft/data/demo',
      tokenizer: 'bytes',
    });
    const own = await resolveRun('debugTiny', { set: ['data.directory=/data', 'data.tokenizer=t.json'] }).catch(
      () => undefined,
    );
    if (own !== undefined) expect(withAbsolutePaths(own, '/srv/weft').data.directory).toBe('/data');
  });
});

it.each(['s3://bucket/data/', 'https://x.org/data', 'gs://b', 'hf://datasets/owner/name@main'])(
  'keeps the address %s of data as it is, without a slash at its end',
  async (url) => {
    const config = await resolveRun('debugTiny', { set: [`data.directory=${url}`] });
    expect(withAbsolutePaths(config, '/srv/weft').data.directory).toBe(url.replace(/\/$/, ''));
  },
);

it.each([
  ['file:///data', 'data.directory: no data are read at file:// addresses'],
  ['hf://datasets/x', 'data.directory: hf://datasets/x is no address of data: it does not name a data set'],
  ['s3://', 'data.directory: s3:// is no address of data: it names no bucket'],
  [
    'https://user:secret@host/data',
    'data.directory: an https:// address of data has a name or password in front of its host, which may be a secret',
  ],
  [
    'https://host/data?sig=secret',
    'data.directory: an https:// address of data has a query behind its path, which may be a secret',
  ],
])('refuses %s as a data directory, without telling a secret', async (url, sentence) => {
  const config = await resolveRun('debugTiny', { set: [`data.directory=${url}`] });
  expect(() => withAbsolutePaths(config, '/srv/weft')).toThrow(expect.objectContaining({ message: sentence }));
});

describe('--init-from', () => {
  it('takes one checkpoint, or one for each part', async () => {
    await using directory = await temporaryDirectory();
    const missing = { initFrom: ['vision=nowhere'] };
    await expect(resolveRun('debugTiny', missing)).rejects.toThrow('nowhere is neither a checkpoint nor a run');
    await expect(resolveRun('debugTiny', { initFrom: ['a', 'vision=b'] })).rejects.toThrow(
      '--init-from takes one checkpoint, or part=checkpoint for each part',
    );
    const config = await resolveRun('debugTiny', { set: [`initFrom.vision=${directory.path}`] });
    expect(config.initFrom).toEqual({ vision: directory.path, connector: null, decoder: null });
    const relative = await resolveRun('debugTiny', { set: ['initFrom.vision=.weft/a'] });
    expect(withAbsolutePaths(relative, '/srv/weft').initFrom).toMatchObject({ vision: '/srv/weft/a', decoder: null });
  });
});
