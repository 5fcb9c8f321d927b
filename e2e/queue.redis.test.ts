import { type RedisServer, redisServer } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { queueSuite } from './queue-suite.js';
import { withSettings } from './weft.js';

let redis: RedisServer;
beforeAll(async () => {
  redis = await redisServer({ isLasting: true });
});
afterAll(() => redis.remove());

/** Each test has a Redis database of its own. */
let databases = 0;
const freshUrl = async () => `${redis.url}/${++databases}`;

queueSuite('Redis', freshUrl);

const STEPS = 200;
const settings = withSettings({ workers: 1, steps: STEPS, 'checkpoint.everySteps': 20 });
/**
 * Longer than the lease (10 s) and than the patience of heartbeats, so that everything has run out that can. Seconds of
 * the environment choose another time: a minute has been tried.
 */
const AWAY_MS = 1000 * Number(process.env.WEFT_TEST_REDIS_AWAY_SECONDS ?? 15);

/** Side by side, each with a Redis of its own: they mostly wait for a time to pass. */
describe.concurrent('coordinators on one Redis', () => {
  async function expectWhole(cluster: Cluster, runId: string): Promise<void> {
    await cluster.untilStatus(runId, 'finished');
    expect(cluster.home.metrics(runId).map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
    const check = await cluster.weft('data', 'ledger', runId, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  }

  it('go on with everything when Redis was restarted, and wait while it is away, saying so', async () => {
    await using server = await redisServer();
    await using cluster = await Cluster.make(server.url);
    const coordinator = cluster.coordinator();
    const worker = await cluster.worker();
    await cluster.ready(1);
    const runId = await cluster.launch(...settings);
    const queued = await cluster.launch(...withSettings({ workers: 1, steps: 3 }));
    await cluster.home.untilStep(runId, 30);
    await server.kill();
    await server.start();
    await cluster.home.untilStep(runId, 60);
    await server.kill();
    await coordinator.prints('has not answered since');
    const { step, reason } = await cluster.run(runId);
    expect(reason).toContain('nothing is decided until it does');
    await worker.prints('waits for the coordinator to decide it');
    await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
    expect((await cluster.run(runId)).step).toBe(step);
    expect(await cluster.waiting()).toEqual([queued]);
    const refused = await cluster.weft('stop', queued);
    expect(refused.stderr).toContain('has not answered since');
    await server.start();
    await expectWhole(cluster, runId);
    await cluster.untilStatus(queued, 'finished');
    // Nobody was lost: it is still the first generation.
    expect((await cluster.weft('history', runId)).stdout).not.toContain('generation 2');
  });

  it('never act both: the second stands by, takes over from a stopped one, and what that writes afterwards is refused', async () => {
    await using server = await redisServer();
    await using cluster = await Cluster.make(server.url);
    const first = cluster.coordinator();
    await cluster.worker();
    await cluster.ready(1);
    const runId = await cluster.launch(...settings);
    const second = cluster.coordinator();
    await second.prints('this process stands by to take over');
    expect(cluster.coordinatorProcessId).toBe(first.process.pid);
    await cluster.home.untilStep(runId, 30);
    first.process.kill('SIGSTOP');
    await second.prints('the coordinator listens on');
    expect(cluster.coordinatorProcessId).toBe(second.process.pid);
    first.process.kill('SIGCONT');
    expect(await first.ended).toBe(1);
    expect(first.log).toMatch(/lease/);
    expect(cluster.coordinatorProcessId).toBe(second.process.pid);
    await expectWhole(cluster, runId);
    expect((await cluster.weft('history', runId)).stdout).toContain('generation 2');
  });
});
