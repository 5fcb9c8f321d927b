import { type RedisServer, redisServer } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { queueSuite } from './queue-suite.js';
import { ENDLESS, withSettings } from './weft.js';

let redis: RedisServer;
beforeAll(async () => {
  redis = await redisServer({ isLasting: true });
});
afterAll(() => redis.remove());

/** Each test has a Redis database of its own. */
let databases = 0;
const freshUrl = async () => `${redis.url}/${++databases}`;

queueSuite('Redis', freshUrl);

const settings = withSettings({ ...ENDLESS, workers: 1, 'checkpoint.everySteps': 20 });
/**
 * Longer than the lease (10 s) and than the patience of heartbeats, so that everything has run out that can. Seconds of
 * the environment choose another time: a minute has been tried.
 */
const AWAY_MS = 1000 * Number(process.env.WEFT_TEST_REDIS_AWAY_SECONDS ?? 15);

/** Side by side, each with a Redis of its own: they mostly wait for a time to pass. */
describe.concurrent('coordinators on one Redis', () => {
  /** The run goes on for a while and is stopped, and nothing of it is missing. */
  async function expectWhole(cluster: Cluster, runId: string): Promise<void> {
    await cluster.home.untilStep(runId, cluster.home.lastStep(runId) + 20);
    await cluster.stop(runId);
    await cluster.expectWhole(runId);
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
    await cluster.home.untilStep(runId, cluster.home.lastStep(runId) + 20);
    await server.kill();
    await coordinator.prints('has not answered since');
    await worker.prints('waits for the coordinator to decide it');
    const { step, reason } = await cluster.run(runId);
    expect(reason).toContain('nothing is decided until it does');
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
    // Its worker kept what it had: it went on where it was.
    const { stdout } = await cluster.weft('history', runId);
    expect(stdout).toContain('its workers are back: generation 1 goes on after step');
    expect(stdout).not.toContain('generation 2');
  });
});
