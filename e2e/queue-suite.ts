import { recipe } from '@weft/recipes';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { withSettings } from './weft.js';

const one = (settings: Readonly<Record<string, string | number>> = {}) =>
  withSettings({ workers: 1, 'checkpoint.everySteps': 10, ...settings });

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
      const running = await cluster.launch(...one({ steps: 200 }));
      const queued: string[] = [];
      for (let i = 0; i < 3; i++) queued.push(await cluster.launch(...one({ steps: 3 })));
      await cluster.weft('queue', 'move', queued[2] ?? '', '--first');
      await cluster.home.untilStep(running, 25);
      const before = await cluster.waiting();
      expect(before).toEqual([queued[2], queued[0], queued[1]]);
      await first.kill();
      cluster.coordinator();
      await cluster.ready(1);
      await cluster.home.untilStep(running, 60);
      expect(await cluster.waiting()).toEqual(before);
      await cluster.untilStatus(running, 'finished');
      for (const runId of queued) await cluster.untilStatus(runId, 'finished');
      const check = await cluster.weft('data', 'ledger', running, '--check');
      expect(check.code, check.stdout + check.stderr).toBe(0);
      expect(cluster.home.metrics(running).map(({ step }) => step)).toEqual(
        Array.from({ length: 200 }, (_, i) => i + 1),
      );
    });

    it('gives the workers of a run to a more important one at its next checkpoint; its losses stay the same', async () => {
      cluster.coordinator();
      await cluster.worker();
      await cluster.worker();
      await cluster.ready(2);
      const alone = await cluster.launch(...one({ steps: 120, workers: 2 }));
      await cluster.untilStatus(alone, 'finished');
      const patient = await cluster.launch(...one({ steps: 120, workers: 2 }));
      await cluster.home.untilStep(patient, 5);
      const urgent = await cluster.launch('--priority', '5', ...one({ steps: 20, workers: 2 }));
      await cluster.untilStatus(urgent, 'finished');
      await cluster.untilStatus(patient, 'finished');
      const { stdout } = await cluster.weft('history', patient);
      expect(stdout).toContain(`queued: it left its workers to run ${urgent} after step`);
      expect(cluster.losses(patient)).toEqual(cluster.losses(alone));
    });

    it('of a thousand runs is shown by the command in less than half a second', async () => {
      cluster.coordinator();
      await cluster.ready(0);
      await cluster.launchMany(1000, recipe('debugNano'));
      const { tookMs, rows } = await cluster.timeQueue();
      expect(rows).toBe(1000);
      expect(tookMs).toBeLessThan(500);
    });
  });
}
