import { beforeEach, describe, expect, it } from 'vitest';
import { RUN, Scene } from './testing/scene.js';
import { tinyConfig } from './testing/tiny-config.js';

const moe = { experts: 4, everyLayers: 1 };
/** A run with 2 ranks and 2 expert workers. */
const launch = (scene: Scene, expertWorkers = 2) => {
  const { model } = tinyConfig();
  scene.launch({ expertWorkers, model: { ...model, decoder: { ...model.decoder, moe } } });
};
const checkpoint2 = { checkpoint: { step: 2, directory: '/step-2' }, skipped: [] };

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
  launch(scene);
  scene.attend('a', 'b');
});

/** A whole checkpoint: every rank's part, every expert worker's, then the manifest. */
function checkpoint(step: number): void {
  for (const workerId of [...scene.members, 'x', 'y']) scene.save(workerId, step);
  scene.written(scene.members[0]!, step);
}

describe('a run with expert workers', () => {
  it('waits for them, says so, and tells everybody where they are', () => {
    expect(scene.view().reason).toBe('it was launched; it waits for 2 more expert workers: it needs 2, and 0 attend');
    scene.attendExperts('x');
    expect(scene.view().status).toBe('queued');
    scene.attendExperts('y');
    expect(scene.lastCommand('assign')).toMatchObject({
      generation: 1,
      ring: [{ workerId: 'a' }, { workerId: 'b' }],
      experts: [
        { workerId: 'x', address: 'x:1' },
        { workerId: 'y', address: 'y:1' },
      ],
    });
    expect(scene.view().reason).toBe('it trains step 1 of 6 on 2 workers and 2 expert workers');
    expect(scene.log.at(-1)).toMatchObject({ kind: 'assigned', expertWorkers: [{ workerId: 'x' }, { workerId: 'y' }] });
  });

  it('does not take them for ranks, nor keeps others waiting for those that do not attend', () => {
    scene.attendExperts('x');
    scene.launch({ workers: 2 }, 'dense');
    expect(scene.view('dense').status).toBe('running');
    expect(scene.membersOf('dense')).toEqual(['a', 'b']);
  });
});

describe('with all at work', () => {
  beforeEach(() => scene.attendExperts('x', 'y'));

  it('expert workers hear decisions, with what they clip and scale by', () => {
    scene.train(1);
    expect(scene.lastCommand('decideStep')).toMatchObject({
      workerIds: ['a', 'b', 'x', 'y'],
      gradNorm: 1,
      lossTokens: 100,
    });
    scene.stop();
    expect(scene.lastCommand('stopRun')).toMatchObject({ workerIds: ['a', 'b', 'x', 'y'], afterStep: 2 });
  });

  it('a checkpoint has a part of everybody, ranks first', () => {
    scene.train(2);
    for (const workerId of ['y', 'b', 'a']) scene.save(workerId, 2);
    expect(scene.reason).toBe('3 of 4 parts of checkpoint 2 are on disk');
    expect(scene.lastCommand('writeManifest')).toBeUndefined();
    scene.save('x', 2);
    const { workerId, files } = scene.lastCommand('writeManifest')!;
    expect([workerId, ...files.map(({ name }) => name)]).toEqual(['a', 'a-2', 'b-2', 'x-2', 'y-2']);
  });

  it('a lost rank costs the step in hand only, and the experts stay where they are', () => {
    scene.train(2);
    scene.leave('b');
    scene.pass(500, 'a', 'x', 'y');
    const { state, ring, experts, firstStep } = scene.lastCommand('assign')!;
    expect([state.kind, firstStep, ring.length, experts.length]).toEqual(['keep', 3, 1, 2]);
  });

  it('a lost expert worker takes all back to the newest checkpoint, on those that are left', () => {
    scene.train(2);
    checkpoint(2);
    scene.train(1);
    scene.leave('x');
    expect(scene.reason).toBe(
      'expert worker 0 (x on host) was lost: its stream ended; run tiny-1 goes back to its newest checkpoint, on 2 workers and 1 expert workers',
    );
    expect(scene.log.find(({ kind }) => kind === 'workerLost')).toMatchObject({ role: 'expertWorker', rank: 0 });
    expect(scene.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b', 'y'], forget: true });
    scene.on({ kind: 'checkpointFound', runId: RUN, found: checkpoint2 });
    const { state, experts, firstStep, generation } = scene.lastCommand('assign')!;
    expect(state).toEqual({ kind: 'checkpoint', directory: '/step-2' });
    expect([firstStep, generation, experts.map(({ workerId }) => workerId)]).toEqual([3, 2, ['y']]);
    scene.train(4);
    expect(scene.view().step).toBe(6);
  });

  it('without any expert worker left, it waits for one to attend', () => {
    scene.train(1);
    scene.leave('x', 'y');
    scene.on({ kind: 'checkpointFound', runId: RUN, found: { checkpoint: undefined, skipped: [] } });
    expect(scene.view().reason).toContain('it waits for 1 more expert worker: it needs 1, and 0 attend');
    scene.attendExperts('z');
    expect(scene.lastCommand('assign')).toMatchObject({ firstStep: 1, experts: [{ workerId: 'z' }] });
  });

  it('a ring that broke because of an expert worker waits for a sign of life of every member', () => {
    scene.train(1);
    scene.breakRing('y');
    expect(scene.view().reason).toBe('the ring forms anew: the ring broke at expert worker 1 in step 2: peer gone');
    scene.pass(500, 'a', 'b', 'y');
    expect(scene.view().worldSize).toBe(0);
    scene.pass(500, 'a', 'b', 'x', 'y');
    expect(scene.view()).toMatchObject({ generation: 2, worldSize: 2 });
  });

  it('is resumed on another number of expert workers, or none', () => {
    scene.train(2);
    checkpoint(2);
    scene.stop(false);
    scene.attendExperts('z');
    scene.resume(checkpoint2, { expertWorkers: 3 });
    expect(scene.lastCommand('assign')?.experts).toHaveLength(3);
    expect(scene.lastCommand('writeConfig')?.config.expertWorkers).toBe(3);
    scene.stop(false);
    scene.resume(checkpoint2, { expertWorkers: 0 });
    expect(scene.lastCommand('assign')?.experts).toEqual([]);
  });

  it('tells what the experts did in the metrics', () => {
    scene.train(1);
    const seconds = { dataSeconds: 1, computeSeconds: 2, communicationSeconds: 3, applySeconds: 4 };
    const layer = {
      layer: 1,
      tokens: 2,
      routed: [3, 1, 0, 0],
      dropped: [1, 0, 0, 0],
      droppedShare: 0.25,
      imbalance: 3,
    };
    const losses = { loadBalanceLoss: 1, routerZLoss: 2, routerEntropy: 0.5 };
    const moe = { layers: [{ ...layer, ...losses }], bytesSent: 10, bytesReceived: 20, waitingSeconds: 0.5 };
    const report = { step: 1, learningRate: 1e-3, tokensPerSecond: 50, ...seconds, moe };
    scene.on({ kind: 'reported', workerId: 'a', runId: RUN, generation: 1, report });
    expect(scene.lastCommand('appendMetrics')?.row.moe).toEqual(moe);
  });
});
