import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimulatedCluster } from './testing/simulated-cluster.js';

type Happening =
  | { readonly kind: 'receive' | 'work' | 'hear' | 'hang' | 'breakRing' | 'fail'; readonly who: number }
  | { readonly kind: 'kill'; readonly who: number; readonly flush: boolean }
  | { readonly kind: 'pass'; readonly durationMs: number }
  | { readonly kind: 'stop'; readonly which: number; readonly saveCheckpoint: boolean }
  | { readonly kind: 'resume' | 'corrupt' | 'hold' | 'letGo' | 'cancel'; readonly which: number }
  | { readonly kind: 'move'; readonly which: number; readonly priority: number }
  | { readonly kind: 'launch'; readonly workers: number; readonly steps: number; readonly priority: number }
  | { readonly kind: 'turn' | 'bear' | 'restart' | 'pauseQueue' | 'resumeQueue' };

const who = fc.nat(4);
const which = fc.nat(3);
const of = <Kind extends string>(kind: Kind) => fc.record({ kind: fc.constant(kind), who });
const ofRun = <Kind extends string>(kind: Kind) => fc.record({ kind: fc.constant(kind), which });
const always = <Kind extends string>(kind: Kind) => fc.constant({ kind } as const);
const priority = fc.integer({ min: -1, max: 1 });
const size = { workers: fc.integer({ min: 1, max: 4 }), steps: fc.integer({ min: 1, max: 9 }) };

const ofOneRun: fc.WeightedArbitrary<Happening>[] = [
  { weight: 40, arbitrary: always('turn') },
  { weight: 15, arbitrary: of('receive') },
  { weight: 15, arbitrary: of('work') },
  { weight: 15, arbitrary: of('hear') },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('pass'), durationMs: fc.integer({ min: 50, max: 4000 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('kill'), who, flush: fc.boolean() }) },
  { weight: 3, arbitrary: always('bear') },
  { weight: 2, arbitrary: of('breakRing') },
  { weight: 1, arbitrary: of('hang') },
  { weight: 1, arbitrary: always('restart') },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop'), which, saveCheckpoint: fc.boolean() }) },
  { weight: 3, arbitrary: ofRun('resume') },
  { weight: 1, arbitrary: ofRun('corrupt') },
];
const ofQueue: fc.WeightedArbitrary<Happening>[] = [
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('launch'), ...size, priority }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('move'), which, priority }) },
  { weight: 2, arbitrary: of('fail') },
  { weight: 1, arbitrary: ofRun('hold') },
  { weight: 2, arbitrary: ofRun('letGo') },
  { weight: 1, arbitrary: ofRun('cancel') },
  { weight: 1, arbitrary: always('pauseQueue') },
  { weight: 2, arbitrary: always('resumeQueue') },
];
const MOST_RUNS = 4;

function happen(cluster: SimulatedCluster, event: Happening): void {
  const worker = 'who' in event ? cluster.workers[event.who] : undefined;
  const run = 'which' in event ? cluster.runs[event.which] : undefined;
  if (event.kind === 'receive' && worker?.hangs === false) worker.receive();
  if (event.kind === 'work' && worker?.hangs === false) worker.work();
  if (event.kind === 'breakRing') worker?.breakRing();
  if (event.kind === 'fail') worker?.fail();
  if (event.kind === 'hang' && worker !== undefined) worker.hangs = true;
  if (event.kind === 'hear') cluster.hear(event.who);
  if (event.kind === 'kill') cluster.kill(event.who, event.flush);
  if (event.kind === 'pass') cluster.pass(event.durationMs);
  if (event.kind === 'stop') cluster.stop(run, event.saveCheckpoint);
  if (event.kind === 'turn') cluster.turn();
  if (event.kind === 'corrupt') run?.corrupt();
  if (event.kind === 'bear') cluster.bear();
  if (event.kind === 'restart') cluster.restart();
  if (event.kind === 'resume') cluster.resume(run);
  if (event.kind === 'launch' && cluster.runs.length < MOST_RUNS) cluster.launch({ ...event, maxAttempts: 3 });
  if (run !== undefined) {
    if (event.kind === 'hold') cluster.changeQueue(run, (queue, id) => queue.pause(id));
    if (event.kind === 'letGo') cluster.changeQueue(run, (queue, id) => queue.resume(id));
    if (event.kind === 'move') cluster.changeQueue(run, (queue, id) => queue.move(id, event.priority));
    if (event.kind === 'cancel') cluster.stop(run, false);
  }
  if (event.kind === 'pauseQueue' || event.kind === 'resumeQueue') {
    cluster.queue.isPaused = event.kind === 'pauseQueue';
    cluster.listQueue();
  }
}

function play(cluster: SimulatedCluster, happenings: readonly Happening[]): void {
  for (const event of happenings) happen(cluster, event);
  cluster.check();
  cluster.settle();
  cluster.check();
}

describe('a cluster to which anything may happen', () => {
  it('trains every step exactly once and comes to its end', () => {
    const story = fc.array(fc.oneof(...ofOneRun), { maxLength: 400, size: 'max' });
    fc.assert(
      fc.property(fc.record(size), story, ({ workers, steps }, happenings) => {
        const cluster = new SimulatedCluster();
        for (let i = 0; i < workers; i++) cluster.bear();
        cluster.launch({ workers, steps });
        play(cluster, happenings);
        const [run] = cluster.runs;
        expect(cluster.view(run!)).toMatchObject({ status: 'finished', step: steps, checkpointStep: steps });
        expect(run!.rows).toHaveLength(steps);
      }),
      { numRuns: 200 },
    );
  });

  it('gives its workers to the runs of its queue in their order, one run each, and all come to their end', () => {
    const story = fc.array(fc.oneof(...ofOneRun, ...ofQueue), { maxLength: 250, size: 'max' });
    fc.assert(
      fc.property(story, (happenings) => {
        const cluster = new SimulatedCluster();
        for (let i = 0; i < 3; i++) cluster.bear();
        cluster.launch({ workers: 2, steps: 6, maxAttempts: 2 });
        play(cluster, happenings);
        for (const run of cluster.runs) expect(cluster.view(run).status).toBe('finished');
      }),
      { numRuns: 60 },
    );
  });
});
