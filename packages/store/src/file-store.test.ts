import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { describe } from 'vitest';
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

describe('in files', () => {
  describeEventLog(makePlace);
  describeLease(makePlace);
  describeJobQueue(makePlace);
});
