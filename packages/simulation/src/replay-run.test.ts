import type { RunRecord } from '@weft/coordination';
import { describe, expect, it } from 'vitest';
import { replayRecords } from './replay-run.js';
import { SimulatedCluster } from './simulated-cluster.js';

/** The log of a run of three workers to which this happens, a few steps after it began. */
function logOf(happen: (cluster: SimulatedCluster) => void): readonly RunRecord[] {
  const cluster = new SimulatedCluster();
  for (let i = 0; i < 3; i++) cluster.spawnWorker();
  const run = cluster.launch({ workers: 3, steps: 12, checkpointEverySteps: 4 });
  for (let i = 0; i < 12; i++) {
    cluster.round();
    cluster.advance(200);
  }
  happen(cluster);
  cluster.runToCompletion();
  return JSON.parse(JSON.stringify(run.log)) as RunRecord[];
}

describe('the log of a run that is played again', () => {
  it.each([
    ['nothing happens', () => {}],
    ['a worker is killed, and another one joins', (cluster: SimulatedCluster) => cluster.killWorker(1, true)],
    ['a ring breaks', (cluster: SimulatedCluster) => cluster.workers[0]?.breakRing()],
    ['the coordinator is replaced', (cluster: SimulatedCluster) => cluster.replaceCoordinator()],
    ['everything is restarted', (cluster: SimulatedCluster) => cluster.restartCoordinator()],
  ])('leads to the same decisions where %s', (_, happen) => {
    const log = logOf(happen);
    const { difference, sentence, givenRecords } = replayRecords('run-0', log);
    expect(difference, sentence).toBeUndefined();
    expect(sentence).toContain('it is finished at step 12');
    expect(givenRecords).toBeLessThanOrEqual(2);
  });

  it('tells where a log is not what is decided', () => {
    const log = logOf(() => {});
    const edited = log.map((record) =>
      record.kind === 'committed' && record.entry.step === 5
        ? { ...record, entry: { ...record.entry, endSequence: record.entry.endSequence + 1 } }
        : record,
    );
    expect(replayRecords('run-0', edited).difference).toMatchObject({ logged: { kind: 'committed' } });
  });
});
