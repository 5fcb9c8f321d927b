import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ENDLESS, Home, repository, withSettings } from './weft.js';

const demo = join(repository, '.weft/data/demo');
let folder: string;
let home: Home;
beforeAll(async () => {
  home = await Home.make();
  folder = await mkdtemp(join(tmpdir(), 'weft-growing-'));
});
afterAll(async () => {
  await home.remove();
  await rm(folder, { recursive: true, force: true });
});

async function copyShards(...shards: readonly (readonly [shard: string, name: string])[]): Promise<void> {
  for (const [shard, name] of shards) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await cp(join(demo, shard), join(folder, name));
  }
}

/** A run file of this data, as endless as any other, so that both runs compute alike. */
async function runFile(name: string, data = ''): Promise<string> {
  const path = join(folder, name);
  const own = `  directory: ${folder}\n  weights: "4:4:1"\n${data}`;
  await writeFile(
    path,
    `recipe: debugNano\nengine: { threadsPerWorker: 1 }\ncheckpoint: { everySteps: 5 }\ndata:\n${own}`,
  );
  return path;
}

/** Asks for a change some steps ahead, and further ahead where the run has been faster than the command. */
async function changeAhead(runId: string, ...words: readonly string[]): Promise<number> {
  for (let ahead = 60; ; ahead *= 2) {
    const step = home.lastStep(runId) + ahead;
    const { code, stderr } = await home.weft('data', 'reweight', runId, '--from-step', `${step}`, ...words);
    if (code === 0) return step;
    expect(stderr).toMatch(/is committed|is being trained/);
  }
}

it('a run takes new shards and other weights while it trains, over kill -9 and a resume, with the losses of a run that knew all from its beginning', async () => {
  await copyShards(
    ['captioned/emoji-00000.tar', 'captioned/a.tar'],
    ['interleaved/countries-00000.tar', 'interleaved/a.tar'],
    ['text/addresses-00000.jsonl', 'text/a.jsonl'],
  );
  const file = await runFile('run.yaml');
  expect((await home.weft('data', 'index', file)).code).toBe(0);
  const run = home.start('launch', file, '--local', '2', ...withSettings({ ...ENDLESS, 'data.directory': folder }));
  const id = await run.runId();
  await home.untilStep(id, 3);

  await copyShards(['captioned/emoji-00001.tar', 'captioned/b.tar']);
  const grown = await home.weft('data', 'index', file);
  expect(grown.stdout, grown.stderr).toContain('Added 1 shard as version 2 of the index');
  const step = await changeAhead(id, 'captioned=6', 'interleaved=0.5', 'text=1/2', '--index-version', 'newest');
  await home.untilStep(id, step + 6);
  await run.killAll();

  const refused = await home.weft(
    'data',
    'reweight',
    id,
    '--from-step',
    `${step}`,
    'captioned=1',
    'interleaved=1',
    'text=1',
  );
  expect(refused.stderr).toContain(`step ${step} of run ${id} is committed: it has its data`);
  const later = home.lastStep(id) + 9;
  const stopped = await home.weft(
    'data',
    'reweight',
    id,
    '--from-step',
    `${later}`,
    'captioned=1',
    'interleaved=1',
    'text=2',
    '--reason',
    'more text',
  );
  expect(stopped.stdout, stopped.stderr).toContain(
    `from step ${later} on: captioned 1, interleaved 1, text 2; version 2 of the index`,
  );
  const resumed = home.start('resume', id, '--local', '2');
  await home.untilStep(id, later + 6);
  await resumed.interrupt();

  const ledger = await home.weft('data', 'ledger', id, '--check');
  expect(ledger.code, ledger.stdout + ledger.stderr).toBe(0);
  const metrics = home.metrics(id);
  const changes = [
    `{ fromBatch: ${step}, weights: { captioned: 12, interleaved: 1, text: 1 }, indexVersion: 2 }`,
    `{ fromBatch: ${later}, weights: { captioned: 1, interleaved: 1, text: 2 }, indexVersion: 2 }`,
  ];
  const planned = await runFile('planned.yaml', `  indexVersion: 1\n  mixtureChanges: [${changes.join(', ')}]\n`);
  const undisturbed = home.start(
    'launch',
    planned,
    '--local',
    '2',
    ...withSettings({ ...ENDLESS, 'data.directory': folder }),
  );
  const other = await undisturbed.runId();
  await home.untilStep(other, metrics.length);
  await undisturbed.interrupt();
  const expected = home.metrics(other).slice(0, metrics.length);
  expect(metrics.map(({ sequences }) => sequences)).toEqual(expected.map(({ sequences }) => sequences));
  expect(metrics.map(({ loss }) => loss)).toEqual(expected.map(({ loss }) => loss));

  const answer = await home.weft('data', 'ledger', id, '--step', `${step}`, '--json');
  const { contents } = JSON.parse(answer.stdout) as { contents: { segments: { pieces: unknown[] }[] }[] };
  // A segment may be nothing but the end of its document.
  expect(contents.flatMap(({ segments }) => segments).some(({ pieces }) => pieces.length > 0)).toBe(true);
  expect((await home.weft('history', id)).stdout).toContain('(more text)');
});
