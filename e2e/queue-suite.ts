import { recipe } from '@weft/recipes';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { ENDLESS, expectUnder, withSettings } from './weft.js';

const one = (settings: Readonly<Record<string, string | number>> = {}) =>
  withSettings({ ...ENDLESS, workers: 1, 'checkpoint.everySteps': 10, ...settings });

/** What a queue promises to real processes, wherever it is kept. */
export function queueSuite(place: string, redisUrl: () => Promise<string>): void {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await Cluster.make(await redisUrl());
  });
  afterEach(() => cluster.remove());

  describe(`a queue in ${place}`, () => {
    it('is as it was after kill -9 of the coordinator, and the run at work goes on', async () => {
      const first = cluster.coordinator();
      await cluster.worker();
      await cluster.ready(1);
      const running = await cluster.launch(...one());
      const queued: string[] = [];
      for (let i = 0; i < 3; i++) queued.push(await cluster.launch(...one({ steps: 3 })));
      await cluster.weft('queue', 'move', queued[2] ?? '', '--first');
      await cluster.home.untilStep(running, 25);
      const before = await cluster.waiting();
      expect(before).toEqual([queued[2], queued[0], queued[1]]);
      await first.kill();
      cluster.coordinator();
      await cluster.ready(1);
      await cluster.home.untilStep(running, cluster.home.lastStep(running) + 20);
      expect(await cluster.waiting()).toEqual(before);
      await cluster.stop(running);
      for (const runId of queued) await cluster.untilStatus(runId, 'finished');
      await cluster.expectWhole(running);
    });

    it('gives the workers of a run to a more important one at its next checkpoint; its losses stay the same', async () => {
      cluster.coordinator();
      await cluster.worker();
      await cluster.worker();
      await cluster.ready(2);
      const patient = await cluster.launch(...one({ workers: 2 }));
      await cluster.home.untilStep(patient, 5);
      const urgent = await cluster.launch('--priority', '5', ...one({ steps: 20, workers: 2 }));
      await cluster.untilStatus(urgent, 'finished');
      await cluster.home.untilStep(patient, cluster.home.lastStep(patient) + 10);
      await cluster.stop(patient);
      const { stdout } = await cluster.weft('history', patient);
      expect(stdout).toContain(`queued: it left its workers to run ${urgent} after step`);
      const alone = await cluster.launch(...one({ workers: 2 }));
      const steps = cluster.home.lastStep(patient);
      await cluster.home.untilStep(alone, steps);
      await cluster.stop(alone);
      expect(cluster.losses(patient)).toEqual(cluster.losses(alone).slice(0, steps));
    });

    it('of a thousand runs is shown by the command, with less than half a second of work where times are tested', async () => {
      cluster.coordinator();
      await cluster.ready(0);
      await cluster.launchMany(1000, recipe('debugNano'));
      const { processorMs, rows } = await cluster.queueWork();
      expect(rows).toBe(1000);
      expectUnder(500, processorMs);
    });
  });
}
