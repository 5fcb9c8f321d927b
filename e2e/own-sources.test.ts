import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { indexDataset } from '@weft/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryCluster, nanoConfig } from './memory-cluster.js';
import { Home, repository } from './weft.js';

const SOURCES = ['photos', 'art', 'essays'];
const SETTINGS = ['data.sources.photos=captioned', 'data.sources.art=captioned', 'data.sources.essays=text'];
let folder: string;
let home: Home;
beforeAll(async () => {
  home = await Home.make();
  folder = await mkdtemp(join(tmpdir(), 'weft-own-sources-'));
  const shards = {
    photos: 'captioned/emoji-00000.tar',
    art: 'captioned/emoji-00001.tar',
    essays: 'text/addresses-00000.jsonl',
  };
  for (const [source, shard] of Object.entries(shards)) {
    await mkdir(join(folder, source));
    await cp(join(repository, '.weft/data/demo', shard), join(folder, source, shard.split('/').at(-1) ?? ''));
  }
});
afterAll(async () => {
  await home.remove();
  await rm(folder, { recursive: true, force: true });
});

describe('a mixture of two captioned sources and one of text', () => {
  it('is indexed, read and trained in one process, with the same losses on one rank and on two', async () => {
    const losses: number[][] = [];
    for (const workers of [1, 2]) {
      const config = nanoConfig(
        ...[
          'steps=2',
          'optimizer.warmupSteps=0',
          `workers=${workers}`,
          'evaluation.sequencesPerSource=3',
          `data.directory=${folder}`,
        ],
        ...[...SETTINGS, 'data.weights=3:3:2'],
      );
      const { built, sources } = await indexDataset(config);
      expect(built).toBe(workers === 1);
      expect(Object.keys(sources)).toEqual(SOURCES);
      const cluster = await MemoryCluster.open(workers, config, join(folder, `run-${workers}`));
      for (const outcome of await cluster.train(1, 1, { kind: 'fresh' })) expect(outcome.status).toBe('fulfilled');
      losses.push([...cluster.losses.values()]);
      const { loss = 0, sources: heldOut = {} } = cluster.heldOut.get(2) ?? {};
      expect(Object.keys(heldOut)).toEqual(SOURCES);
      const { photos, art, essays } = heldOut;
      expect(loss).toBeCloseTo((3 * (photos ?? 0) + 3 * (art ?? 0) + 2 * (essays ?? 0)) / 8, 10);
      await cluster.close();
    }
    const [one = [], two = []] = losses;
    expect(one).toHaveLength(2);
    for (const [i, loss] of one.entries()) expect(Math.abs((two[i] ?? 0) / loss - 1)).toBeLessThan(1e-4);
  });

  it('goes by its names through every command', async () => {
    const file = join(folder, 'own.yaml');
    const data = `{ directory: ${folder}, sources: { photos: captioned, art: captioned, essays: text }, weights: "3:3:2" }`;
    await writeFile(file, `recipe: debugNano\nsteps: 4\nengine: { threadsPerWorker: 1 }\ndata: ${data}\n`);
    expect((await home.weft('data', 'index', file)).stdout).toMatch(/: photos [\d,]+, art [\d,]+, essays [\d,]+\./);
    expect((await home.weft('data', 'inspect', file, '--sequence', 'art:0')).stdout).toMatch(/^art sequence 0: /);
    const launched = await home.weft('launch', file, '--local', '2');
    expect(launched.code, launched.stderr).toBe(0);
    expect(launched.stdout).toContain('photos 6, art 6, essays 4');
    expect((await home.weft('data', 'ledger', 'last', '--check')).stdout).toContain(
      '16 sequences, each consumed exactly once',
    );
    const overview = await home.weft('data', 'ledger', 'last');
    expect(overview.stdout).toMatch(/essays +4 \(its share is 4\.0\)/);
    const unknown = await home.weft('data', 'ledger', 'last', '--sequence', 'captioned:0');
    expect(unknown.code).not.toBe(0);
    expect(unknown.stderr).toContain('there is no source captioned; the sources are photos, art, essays');
  });
});
