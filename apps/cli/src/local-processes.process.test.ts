import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Home, readCoordinatorFile } from '@weft/files';
import { LocalLauncher } from '@weft/launch';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { WEFT_SCRIPT } from './local-processes.js';

const start = (home: string, workers: number, onProgress = (_: string) => {}, signal = new AbortController().signal) =>
  new LocalLauncher({ home, script: WEFT_SCRIPT, env: process.env }).start({
    workers,
    onProgress,
    signal,
  });

describe('a local cluster', () => {
  it('is ready when every worker has registered, and gone when it is closed', async () => {
    await using home = await temporaryDirectory();
    const said: string[] = [];
    const cluster = await start(home.path, 2, (sentence) => said.push(sentence));
    expect((await cluster.client.cluster()).workers).toHaveLength(2);
    expect(said).toEqual([
      expect.stringMatching(/^The coordinator listens on 127\.0\.0\.1:\d+; logs in .*\.$/),
      expect.stringMatching(/^2 workers are ready \(.*\)\.$/),
    ]);
    await expect(start(home.path, 1)).rejects.toMatchObject({ code: 'already_exists' });
    await cluster.close();
    expect(await cluster.failure()).toMatchObject({ message: expect.stringMatching(/^the coordinator ended/) });
    expect(await readCoordinatorFile(new Home(home.path))).toBeUndefined();
  });

  it('that is given up while it starts leaves nothing behind', async () => {
    await using home = await temporaryDirectory();
    const givingUp = new AbortController();
    // The coordinator is there, and no worker.
    const starting = start(home.path, 2, () => givingUp.abort(), givingUp.signal);
    await expect(starting).rejects.toMatchObject({ code: 'cancelled' });
    expect(await readCoordinatorFile(new Home(home.path))).toBeUndefined();
  });

  it('that cannot start says why, in the words of the process that died', async () => {
    await using home = await temporaryDirectory();
    await writeFile(join(home.path, 'runs'), 'a file where a directory belongs');
    await expect(start(home.path, 1)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: expect.stringMatching(/^the coordinator ended: .*runs/),
    });
  });
});
