import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { openStore } from './open-store.js';
import type { Store } from './store.js';
import { describeLease } from './testing/lease-conformance.js';
import { describeEventLog } from './testing/log-conformance.js';
import { describeJobQueue } from './testing/queue-conformance.js';
import type { StoreFixture } from './testing/store-fixture.js';

async function makePlace(): Promise<StoreFixture> {
  const directory: TemporaryDirectory = await temporaryDirectory();
  const stores: Store[] = [];
  return {
    open: async () => {
      const store = await openStore({ home: directory.path });
      stores.push(store);
      return store;
    },
    remove: async () => {
      for (const store of stores) await store.close();
      await directory.remove();
    },
  };
}

it('a file in the place of the folder of runs is an error, not a home without runs', async () => {
  await using home = await temporaryDirectory();
  const store = await openStore({ home: home.path });
  expect(await store.logNames()).toEqual([]);
  await writeFile(join(home.path, 'runs'), 'a file');
  await expect(store.logNames()).rejects.toThrow(/runs/);
  await store.close();
});

describe('in files', () => {
  describeEventLog(makePlace);
  describeLease(makePlace);
  describeJobQueue(makePlace);
});
