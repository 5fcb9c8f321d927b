import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasMoto, type MotoServer, motoServer, type Trouble, troubledProxy } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ENDLESS, Home, repository, stepsUpTo, withSettings } from './weft.js';

const DEMO = join(repository, '.weft/data/demo');
const SECRET = 'a-secret-that-nobody-may-print';
const SETTINGS = { ...ENDLESS, 'optimizer.learningRate': 1e-3, 'checkpoint.everySteps': 5 };
/** Of three requests two meet trouble. */
const TROUBLES: readonly Trouble[] = ['error', 'fine', 'slowDown', 'slow', 'reset', 'fine', 'cut', 'slow', 'fine'];

let home: Home;
let moto: MotoServer;
let proxy: Awaited<ReturnType<typeof troubledProxy>>;
let there: Readonly<Record<string, string | number>>;

beforeAll(async () => {
  if (!hasMoto()) return;
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDTEST');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', SECRET);
  vi.stubEnv('AWS_REGION', 'us-east-1');
  home = await Home.make();
  moto = await motoServer();
  proxy = await troubledProxy({ port: moto.port, trouble: (n) => TROUBLES[n % TROUBLES.length] ?? 'fine' });
  await upload();
  there = {
    ...SETTINGS,
    'data.directory': 's3://shards/demo',
    'data.index': join(home.path, 'index'),
    'data.remote.endpoint': proxy.url,
  };
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await moto?.[Symbol.asyncDispose]();
  await home?.remove();
  vi.unstubAllEnvs();
});

async function upload(): Promise<void> {
  await moto.put('shards');
  for (const source of ['captioned', 'interleaved', 'text'])
    for (const name of await readdir(join(DEMO, source)))
      await moto.put(`shards/demo/${source}/${name}`, await readFile(join(DEMO, source, name)));
}

const cache = (name: string) => ({ 'data.remote.cacheDirectory': join(home.path, name) });

describe.skipIf(!hasMoto())('a run on an S3 server of others, behind a bad connection', () => {
  it('is killed, resumed, and trains the losses of a run on the same data in a folder, bit for bit', async () => {
    const indexed = await home.weft('data', 'index', 'debugNano', ...withSettings({ ...there, ...cache('first') }));
    expect(indexed.code, indexed.stderr).toBe(0);

    // Nothing is there from the indexing, so that training itself reads from afar.
    const settings = { ...there, ...cache('second') };
    const run = home.start('launch', 'debugNano', '--local', '2', ...withSettings(settings));
    const id = await run.runId();
    await home.untilCheckpoint(id, 5);
    await home.untilStep(id, 8);
    await run.killAll();
    const further = home.lastStep(id) + 7;
    const resumed = home.start('resume', id);
    await home.untilStep(id, further);
    await resumed.interrupt();
    const remote = home.metrics(id);
    expect(remote.map(({ step }) => step)).toEqual(stepsUpTo(remote.length));

    const local = home.start('launch', 'debugNano', '--local', '2', ...withSettings(SETTINGS));
    const localId = await local.runId();
    await home.untilStep(localId, remote.length);
    await local.interrupt();
    const expected = home.metrics(localId).slice(0, remote.length);
    expect(remote.map(({ loss }) => loss)).toEqual(expected.map(({ loss }) => loss));
    expect(remote.map(({ sequences }) => sequences)).toEqual(expected.map(({ sequences }) => sequences));

    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
    for (const trouble of TROUBLES) expect(proxy.counts[trouble]).toBeGreaterThan(0);
    await expectNoSecret(
      indexed.stdout + indexed.stderr + check.stdout + (await resumed.ended).stdout + (await resumed.ended).stderr,
    );
  });

  it('says in a sentence what is wrong with an address, and leaves nothing behind', async () => {
    const index = (settings: Readonly<Record<string, string>>) =>
      home.weft('data', 'index', 'debugNano', ...withSettings({ ...there, ...cache('second'), ...settings }));
    const nowhere = await index({ 'data.directory': 's3://nowhere/demo' });
    expect(nowhere.stderr).toContain(`there is no bucket nowhere at ${proxy.url}: check bucket and prefix`);
    const empty = await index({ 'data.directory': 's3://shards/dmeo' });
    expect(empty.stderr).toContain('there are no captioned shards in s3://shards/dmeo/captioned');
    for (const { code } of [nowhere, empty]) expect(code).not.toBe(0);
  });

  it('does not begin on shards that changed under their index', async () => {
    const name = 'captioned/emoji-00000.tar';
    const changed = await readFile(join(DEMO, name));
    changed[1000]! ^= 1;
    await moto.put(`shards/demo/${name}`, changed);
    const launched = await home.weft(
      'launch',
      'debugNano',
      '--local',
      '1',
      ...withSettings({ ...there, ...cache('second'), steps: 10 }),
    );
    expect(launched.code).not.toBe(0);
    expect(launched.stderr).toContain(`the shard s3://shards/demo/${name} has changed since it was indexed`);
  });
});

/** Neither in what was printed nor in any file of the home: logs, configurations, events. */
async function expectNoSecret(printed: string): Promise<void> {
  expect(printed).not.toContain(SECRET);
  for (const entry of await readdir(home.path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(json|jsonl|log|txt)$/.test(entry.name)) continue;
    expect(await readFile(join(entry.parentPath, entry.name), 'utf8'), entry.name).not.toContain(SECRET);
  }
}
