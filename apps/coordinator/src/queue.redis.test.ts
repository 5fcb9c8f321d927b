import { type RedisServer, redisServer, temporaryDirectory, waitFor } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchRequest, openCoordinator } from './testing/open-coordinator.js';
import { lossesOf, queueSuite, untilEnd } from './testing/queue-suite.js';
import { ScriptedWorker } from './testing/scripted-worker.js';

let redis: RedisServer;
beforeAll(async () => {
  redis = await redisServer();
});
afterAll(() => redis.remove());

let places = 0;
const makeStore = async (leaseMs = 10_000) => {
  const home = await temporaryDirectory();
  const store = { redisUrl: redis.url, keyPrefix: `test${++places}`, leaseMs };
  return { home: home.path, store, [Symbol.asyncDispose]: () => home.remove() };
};

queueSuite('Redis', () => makeStore());

describe('a coordinator on Redis', () => {
  it('says that Redis is away, decides nothing meanwhile, and goes on afterwards with nothing lost', async () => {
    await using site = await makeStore(1000);
    await using opened = await openCoordinator(site.home, {}, site.store);
    const { coordinator } = opened;
    const worker = new ScriptedWorker(coordinator, { workerId: 'a', beforeStep: (step) => pauses.get(step)?.() });
    const pauses = new Map<number, () => Promise<void>>([[3, () => redis.kill()]]);
    const { runId } = await coordinator.runs.launch(launchRequest({ workers: 1 }));
    const trouble = await waitFor('the trouble', () => {
      const { storeError } = coordinator.runs.cluster();
      return storeError !== '' && storeError;
    });
    expect(trouble).toMatch(/^Redis .* has not answered since .*, and nothing is decided until it does$/);
    expect(coordinator.runs.get(runId).reason).toContain(`${trouble}; it trains step 3 of 6`);
    await expect(coordinator.runs.launch(launchRequest())).rejects.toMatchObject({
      code: 'unavailable',
      hint: 'try again when it is back',
    });
    // Longer than the lease.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(coordinator.runs.get(runId).step).toBe(2);
    pauses.clear();
    await redis.start();
    const run = await untilEnd(coordinator, runId);
    expect(run).toMatchObject({ step: 6, generation: 1 });
    expect(await lossesOf(run)).toHaveLength(6);
    expect(worker.assignments).toHaveLength(1);
    expect(
      opened.lines.map(({ message }) => message).filter((message) => message.endsWith('answers again')),
    ).toHaveLength(1);
  });
});
