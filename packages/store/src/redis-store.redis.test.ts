import { type RedisServer, redisServer } from '@weft/testing';
import { afterAll, beforeAll, describe } from 'vitest';
import { openStore } from './open-store.js';
import type { Store } from './store.js';
import { describeLease } from './testing/lease-conformance.js';
import { describeEventLog } from './testing/log-conformance.js';
import { describeJobQueue } from './testing/queue-conformance.js';
import type { StoreFixture } from './testing/store-fixture.js';

let server: RedisServer;
beforeAll(async () => {
  server = await redisServer({ isLasting: true });
});
afterAll(() => server.remove());

let places = 0;

/** Each test has the server for itself by a prefix of its own. */
async function makePlace(): Promise<StoreFixture> {
  const keyPrefix = `place-${++places}`;
  const stores: Store[] = [];
  return {
    open: async () => {
      const store = await openStore({ home: '/nowhere', redisUrl: server.url, keyPrefix });
      stores.push(store);
      return store;
    },
    remove: async () => {
      for (const store of stores) await store.close();
    },
  };
}

describe('in Redis', () => {
  describeEventLog(makePlace);
  describeLease(makePlace);
  describeJobQueue(makePlace);
});
