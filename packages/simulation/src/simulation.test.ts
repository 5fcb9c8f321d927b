import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimulatedCluster } from './simulated-cluster.js';
import { applyEvent, type SimulationEvent } from './simulation-events.js';

const worker = fc.nat(4);
const run = fc.nat(3);
const ofWorker = <Kind extends string>(kind: Kind) => fc.record({ kind: fc.constant(kind), worker });
const ofRun = <Kind extends string>(kind: Kind) => fc.record({ kind: fc.constant(kind), run });
const ofCluster = <Kind extends string>(kind: Kind) => fc.constant({ kind } as const);
const priority = fc.integer({ min: -1, max: 1 });
const size = { workers: fc.integer({ min: 1, max: 4 }), steps: fc.integer({ min: 1, max: 9 }) };
const advance = fc.record({ kind: fc.constant('advance'), durationMs: fc.integer({ min: 50, max: 4000 }) });

/** What may happen to one run, by weight. */
const runEvents: fc.WeightedArbitrary<SimulationEvent>[] = [
  { weight: 40, arbitrary: ofCluster('round') },
  { weight: 15, arbitrary: ofWorker('receive') },
  { weight: 15, arbitrary: ofWorker('compute') },
  { weight: 15, arbitrary: ofWorker('deliver') },
  { weight: 10, arbitrary: advance },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('kill'), worker, flush: fc.boolean() }) },
  { weight: 3, arbitrary: ofCluster('spawnWorker') },
  { weight: 2, arbitrary: ofWorker('breakRing') },
  { weight: 2, arbitrary: ofWorker('failDevice') },
  { weight: 1, arbitrary: ofWorker('hang') },
  { weight: 1, arbitrary: ofWorker('leave') },
  { weight: 1, arbitrary: ofWorker('cutOff') },
  { weight: 1, arbitrary: ofCluster('replaceCoordinator') },
  { weight: 4, arbitrary: ofCluster('reconnect') },
  { weight: 1, arbitrary: ofCluster('restartCoordinator') },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop'), run, saveCheckpoint: fc.boolean() }) },
  { weight: 3, arbitrary: ofRun('resume') },
  { weight: 1, arbitrary: ofRun('damageCheckpoint') },
];

/** What may happen to a queue of several runs besides. */
const queueEvents: fc.WeightedArbitrary<SimulationEvent>[] = [
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('launch'), ...size, priority }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('move'), run, priority }) },
  { weight: 2, arbitrary: ofWorker('fail') },
  { weight: 1, arbitrary: ofRun('pauseJob') },
  { weight: 2, arbitrary: ofRun('resumeJob') },
  { weight: 1, arbitrary: ofRun('cancel') },
  { weight: 1, arbitrary: ofCluster('pauseQueue') },
  { weight: 2, arbitrary: ofCluster('resumeQueue') },
];

function simulate(cluster: SimulatedCluster, events: readonly SimulationEvent[]): void {
  for (const event of events) applyEvent(cluster, event);
  cluster.check();
  cluster.runToCompletion();
  cluster.check();
}

describe('a cluster to which anything may happen', () => {
  it('trains every step exactly once and comes to its end', () => {
    const events = fc.array(fc.oneof(...runEvents), { maxLength: 400, size: 'max' });
    fc.assert(
      fc.property(fc.record(size), events, ({ workers, steps }, happening) => {
        const cluster = new SimulatedCluster();
        for (let i = 0; i < workers; i++) cluster.spawnWorker();
        const launched = cluster.launch({ workers, steps });
        simulate(cluster, happening);
        expect(cluster.view(launched)).toMatchObject({ status: 'finished', step: steps, checkpointStep: steps });
        expect(launched.rows).toHaveLength(steps);
      }),
      { numRuns: 200 },
    );
  });

  it('gives its workers to the runs of its queue in their order, one run each, and all come to their end', () => {
    const events = fc.array(fc.oneof(...runEvents, ...queueEvents), { maxLength: 250, size: 'max' });
    fc.assert(
      fc.property(events, (happening) => {
        const cluster = new SimulatedCluster();
        for (let i = 0; i < 3; i++) cluster.spawnWorker();
        cluster.launch({ workers: 2, steps: 6, maxAttempts: 2 });
        simulate(cluster, happening);
        for (const each of cluster.runs) expect(cluster.view(each).status).toBe('finished');
      }),
      { numRuns: 60 },
    );
  });
});
