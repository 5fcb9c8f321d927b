import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from './open-store.js';
import { describeCrashes } from './testing/crash-conformance.js';
import { buildStore, StoreProcess } from './testing/store-process.js';

beforeAll(buildStore);

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(() => directory.remove());

describe('in files', () => {
  describeCrashes(() => ({ home: directory.path }));

  it('a second process is refused while the first lives, even stopped, with an error that names the first', async () => {
    const first = new StoreProcess({ home: directory.path }, "say('ready'); setInterval(() => {}, 1000);");
    await first.waitForLine(/ready/);
    first.signal('SIGSTOP');
    const store = await openStore({ home: directory.path });
    const told: string[] = [];
    const options = { waitMs: 200, onWaiting: (holder: string) => told.push(holder) };
    await expect(store.lease.acquire('this test', options)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `the home ${directory.path} is in use by process ${first.processId}`,
    });
    expect(told).toEqual([`process ${first.processId}`]);
    await first.kill();
    await (await store.lease.acquire('this test')).release();
  });
});
