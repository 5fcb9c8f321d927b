import { appendFile, cp, mkdtemp, open, readdir, rm, truncate } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Role, WorkersService } from '@weft/proto';
import { channel } from '@weft/rpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENDLESS, Home, type Output, repository, withSettings } from './weft.js';

let home: Home;
const folders: string[] = [];
beforeAll(async () => {
  home = await Home.make();
});
afterAll(async () => {
  await home.remove();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** One sentence on stderr, naming what must be named, and a non-zero exit. */
function expectRefusal(said: Output, ...named: (string | RegExp)[]): void {
  expect(said.code).not.toBe(0);
  const sentences = said.stderr.split('\n').filter((line) => line.startsWith('error: '));
  expect(sentences, said.stderr + said.stdout).toHaveLength(1);
  for (const part of named) expect(sentences[0]).toMatch(part);
}

/** A copy of the demo shards and their index, to be damaged. */
async function demoCopy(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-damaged-'));
  folders.push(folder);
  for (const part of ['captioned', 'interleaved', 'text', 'index']) {
    await cp(join(repository, '.weft/data/demo', part), join(folder, part), { recursive: true });
  }
  return folder;
}

const launch = (...settings: string[]) => {
  const set = settings.flatMap((setting) => ['--set', setting]);
  return home.weft('launch', 'debugTiny', '--local', '2', ...withSettings({ steps: 4 }), ...set);
};

describe('bad input gets one clear sentence, a non-zero exit, and nothing half-written', () => {
  it('for an unknown recipe, an unknown field and a wrong type', async () => {
    expectRefusal(await home.weft('launch', 'debugTinny', '--local', '1'), 'debugTinny', 'debugTiny');
    expectRefusal(await launch('model.sequenceLenght=5'), 'model.sequenceLenght', 'did you mean model.sequenceLength');
    expectRefusal(await launch('steps=soon'), 'steps', '"soon"', 'whole number');
    expect(await readdir(home.path)).not.toContain('runs');
  });

  it('for a data index that does not match its shards', async () => {
    const data = await demoCopy();
    await appendFile(join(data, 'captioned/emoji-00001.tar'), 'x');
    expectRefusal(await launch(`data.directory=${data}`), 'emoji-00001.tar', 'weft data index');
  });

  it('for a tar archive that is cut off, leaving the old index alone', async () => {
    const data = await demoCopy();
    const before = await readdir(join(data, 'index'));
    await truncate(join(data, 'captioned/emoji-00002.tar'), 100_000);
    const said = await home.weft('data', 'index', 'debugTiny', '--set', `data.directory=${data}`);
    expectRefusal(said, 'emoji-00002.tar', 'cut off', 'intact copy');
    // What was read of the other shards stays, hidden, for the next time.
    const after = await readdir(join(data, 'index'));
    expect(after.filter((name) => !name.endsWith('.parts'))).toEqual(before);
  });

  it('for an image that cannot be decoded, naming shard and image, and the run says why it failed', async () => {
    const data = await demoCopy();
    const shard = await open(join(data, 'captioned/emoji-00002.tar'), 'r+');
    await shard.write(Buffer.alloc(200_000, 'not a picture'), 0, 200_000, 102_400);
    await shard.close();
    const said = await home.weft('data', 'index', 'debugTiny', '--set', `data.directory=${data}`);
    expectRefusal(said, 'emoji-00002.tar', /image|archive/);
  });

  it('for a port that is taken', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    const said = await home.weft('coordinator', '--port', String(port));
    server.close();
    expectRefusal(said, String(port), 'the port is taken', '--port');
  });

  it('for a worker of another version', async () => {
    const settings = { ...ENDLESS, 'engine.backend': 'javascript' };
    const run = home.start('launch', 'debugNano', '--local', '1', ...withSettings(settings));
    const id = await run.runId();
    const { address } = await home.coordinator();
    const connection = await channel(address);
    const stream = connection.bidi(WorkersService.connect);
    const hello = {
      workerId: 'old',
      hostName: 'elsewhere',
      processId: 1,
      dataPlaneAddress: '127.0.0.1:1',
      device: 'cpu',
      metricsAddress: '',
      role: Role.ROLE_RANK,
      bf16Backends: [],
      memory: undefined,
      held: undefined,
      peak: undefined,
    };
    stream.send({ body: { $case: 'hello', hello: { ...hello, version: '0.0.1' } } });
    const error = await stream.closed;
    connection.close();
    expect(error?.code).toBe('version_mismatch');
    expect(error?.sentence).toMatch(/0\.0\.1.*0\.1\.0/);
    // The run does not mind.
    await home.untilStep(id, home.lastStep(id) + 2);
    await run.interrupt();
  });

  it('for a truncated checkpoint: the one before it serves, and the run says so', async () => {
    const settings = { steps: 8, 'checkpoint.everySteps': 4 };
    const id = await home.train('debugNano', 2, settings);
    const newest = join(home.runDirectory(id), 'checkpoints/step-00000008');
    const [shard = ''] = (await readdir(newest)).filter((name) => name.endsWith('.safetensors'));
    await truncate(join(newest, shard), 1000);
    const said = await home.weft('resume', id, '--steps', '12');
    expect(said.code, said.stderr).toBe(0);
    expect(said.stdout + said.stderr).toMatch(/step-00000008|checkpoint of step 8/);
    expect(home.metrics(id).map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  });

  it('for a data index that changed since the checkpoint was written', async () => {
    const data = await demoCopy();
    const settings = { steps: 4, 'data.directory': data, 'engine.backend': 'javascript' };
    const id = await home.train('debugNano', 1, settings);
    await rm(join(data, 'text/addresses-00000.jsonl'));
    expect((await home.weft('data', 'index', 'debugNano', '--set', `data.directory=${data}`)).code).toBe(0);
    expectRefusal(
      await home.weft('resume', id, '--steps', '8'),
      'step-00000004',
      'another data index',
      'begin a new run',
    );
    expect(home.metrics(id)).toHaveLength(4);
  });
});
