import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimulatedCluster } from './testing/simulated-cluster.js';

type Happening =
  | { readonly kind: 'receive' | 'work' | 'hear' | 'hang' | 'breakRing'; readonly who: number }
  | { readonly kind: 'kill'; readonly who: number; readonly flush: boolean }
  | { readonly kind: 'pass'; readonly durationMs: number }
  | { readonly kind: 'stop'; readonly saveCheckpoint: boolean }
  | { readonly kind: 'turn' | 'bear' | 'restart' | 'resume' | 'corrupt' };

const who = fc.nat(4);
const of = <Kind extends string>(kind: Kind) => fc.record({ kind: fc.constant(kind), who });
const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 40, arbitrary: fc.constant({ kind: 'turn' } as const) },
  { weight: 15, arbitrary: of('receive') },
  { weight: 15, arbitrary: of('work') },
  { weight: 15, arbitrary: of('hear') },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('pass'), durationMs: fc.integer({ min: 50, max: 4000 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('kill'), who, flush: fc.boolean() }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'bear' } as const) },
  { weight: 2, arbitrary: of('breakRing') },
  { weight: 1, arbitrary: of('hang') },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' } as const) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop'), saveCheckpoint: fc.boolean() }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'resume' } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'corrupt' } as const) },
);

function happen(cluster: SimulatedCluster, event: Happening): void {
  const worker = 'who' in event ? cluster.workers[event.who] : undefined;
  if (event.kind === 'receive' && worker?.hangs === false) worker.receive();
  if (event.kind === 'work' && worker?.hangs === false) worker.work();
  if (event.kind === 'breakRing') worker?.breakRing();
  if (event.kind === 'hang' && worker !== undefined) worker.hangs = true;
  if (event.kind === 'hear') cluster.hear(event.who);
  if (event.kind === 'kill') cluster.kill(event.who, event.flush);
  if (event.kind === 'pass') cluster.pass(event.durationMs);
  if (event.kind === 'stop') cluster.stop(event.saveCheckpoint);
  if (event.kind === 'turn') cluster.turn();
  if (event.kind === 'corrupt') cluster.corrupt();
  if (event.kind === 'bear') cluster.bear();
  if (event.kind === 'restart') cluster.restart();
  if (event.kind === 'resume') cluster.resume();
}

describe('a cluster to which anything may happen', () => {
  it('trains every step exactly once and comes to its end', () => {
    const scale = fc.record({ workers: fc.integer({ min: 1, max: 4 }), steps: fc.integer({ min: 1, max: 9 }) });
    const story = fc.array(happening, { maxLength: 400, size: 'max' });
    fc.assert(
      fc.property(scale, story, (sizes, happenings) => {
        const cluster = new SimulatedCluster(sizes);
        for (const event of happenings) happen(cluster, event);
        cluster.check();
        cluster.settle();
        cluster.check();
        expect(cluster.view).toMatchObject({ phase: 'finished', step: sizes.steps, checkpointStep: sizes.steps });
        expect(cluster.rows).toHaveLength(sizes.steps);
      }),
      { numRuns: 200 },
    );
  });
});
