import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness, RUN } from './testing/decide-harness.js';
import { tinyConfig } from './testing/tiny-config.js';

const moe = { experts: 4, everyLayers: 1 };
/** A run with 2 ranks and 2 expert workers, which keep no copies. */
const launch = (harness: DecideHarness, expertWorkers = 2) => {
  const { model } = tinyConfig();
  harness.launch({ expertWorkers, expertCopies: false, model: { ...model, decoder: { ...model.decoder, moe } } });
};
const checkpoint2 = { checkpoint: { step: 2, directory: '/step-2' }, skipped: [] };

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  launch(harness);
  harness.connect('a', 'b');
});

/** A whole checkpoint: every rank's part, every expert worker's, then the manifest. */
function checkpoint(step: number): void {
  for (const workerId of [...harness.members, 'x', 'y']) harness.savePart(workerId, step);
  harness.writeManifest(harness.members[0]!, step);
}

describe('a run with expert workers', () => {
  it('waits for them, says so, and tells everybody where they are', () => {
    expect(harness.view().reason).toBe(
      'it was launched; it waits for 2 more expert workers: it needs 2, and 0 are connected',
    );
    harness.connectExperts('x');
    expect(harness.view().status).toBe('queued');
    harness.connectExperts('y');
    expect(harness.lastCommand('assign')).toMatchObject({
      generation: 1,
      ring: [{ workerId: 'a' }, { workerId: 'b' }],
      experts: [
        { workerId: 'x', address: 'x:1' },
        { workerId: 'y', address: 'y:1' },
      ],
    });
    expect(harness.view().reason).toBe('it trains step 1 of 6 on 2 workers and 2 expert workers');
    expect(harness.log.at(-1)).toMatchObject({
      kind: 'assigned',
      expertWorkers: [{ workerId: 'x' }, { workerId: 'y' }],
    });
  });

  it('does not take them for ranks, nor keeps others waiting for those that are not connected', () => {
    harness.connectExperts('x');
    harness.launch({ workers: 2 }, 'dense');
    expect(harness.view('dense').status).toBe('running');
    expect(harness.membersOf('dense')).toEqual(['a', 'b']);
  });
});

describe('with all of them training', () => {
  beforeEach(() => harness.connectExperts('x', 'y'));

  it('expert workers get decisions, with what they clip and scale by', () => {
    harness.train(1);
    expect(harness.lastCommand('decideStep')).toMatchObject({
      workerIds: ['a', 'b', 'x', 'y'],
      gradNorm: 1,
      lossTokens: 100,
    });
    harness.stop();
    expect(harness.lastCommand('stopRun')).toMatchObject({ workerIds: ['a', 'b', 'x', 'y'], afterStep: 2 });
  });

  it('a checkpoint has a part of everybody, ranks first', () => {
    harness.train(2);
    for (const workerId of ['y', 'b', 'a']) harness.savePart(workerId, 2);
    expect(harness.reason).toBe('3 of 4 parts of checkpoint 2 are on disk');
    expect(harness.lastCommand('writeManifest')).toBeUndefined();
    harness.savePart('x', 2);
    const { workerId, files } = harness.lastCommand('writeManifest')!;
    expect([workerId, ...files.map(({ name }) => name)]).toEqual(['a', 'a-2', 'b-2', 'x-2', 'y-2']);
  });

  it('a lost rank costs the current step only, and the experts stay where they are', () => {
    harness.train(2);
    harness.disconnect('b');
    harness.advance(500, 'a', 'x', 'y');
    const { startFrom: state, ring, experts, firstStep } = harness.lastCommand('assign')!;
    expect([state.kind, firstStep, ring.length, experts.length]).toEqual(['keep', 3, 1, 2]);
  });

  it('a lost expert worker takes all back to the newest checkpoint, on those that are left', () => {
    harness.train(2);
    checkpoint(2);
    harness.train(1);
    harness.disconnect('x');
    expect(harness.reason).toBe(
      'expert worker 0 (x on host) was lost: its stream ended; run tiny-1 goes back to its newest checkpoint, on 2 workers and 1 expert workers',
    );
    expect(harness.log.find(({ kind }) => kind === 'workerLost')).toMatchObject({ role: 'expertWorker', rank: 0 });
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b', 'y'], discardState: true });
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: checkpoint2 });
    const { startFrom: state, experts, firstStep, generation } = harness.lastCommand('assign')!;
    expect(state).toEqual({ kind: 'checkpoint', directory: '/step-2' });
    expect([firstStep, generation, experts.map(({ workerId }) => workerId)]).toEqual([3, 2, ['y']]);
    harness.train(4);
    expect(harness.view().step).toBe(6);
  });

  it('without any expert worker left, it waits for one to connect', () => {
    harness.train(1);
    harness.disconnect('x', 'y');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: { checkpoint: undefined, skipped: [] } });
    expect(harness.view().reason).toContain('it waits for 1 more expert worker: it needs 1, and 0 are connected');
    harness.connectExperts('z');
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 1, experts: [{ workerId: 'z' }] });
  });

  it('a ring that broke because of an expert worker waits for a heartbeat of every member', () => {
    harness.train(1);
    harness.breakRing('y');
    expect(harness.view().reason).toBe('the ring forms again: the ring broke at expert worker 1 in step 2: peer gone');
    harness.advance(500, 'a', 'b', 'y');
    expect(harness.view().worldSize).toBe(0);
    harness.advance(500, 'a', 'b', 'x', 'y');
    expect(harness.view()).toMatchObject({ generation: 2, worldSize: 2 });
  });

  it('is resumed on another number of expert workers, or none', () => {
    harness.train(2);
    checkpoint(2);
    harness.stop(false);
    harness.connectExperts('z');
    harness.resume(checkpoint2, { expertWorkers: 3 });
    expect(harness.lastCommand('assign')?.experts).toHaveLength(3);
    expect(harness.lastCommand('writeConfig')?.config.expertWorkers).toBe(3);
    harness.stop(false);
    harness.resume(checkpoint2, { expertWorkers: 0 });
    expect(harness.lastCommand('assign')?.experts).toEqual([]);
  });

  it('writes the load of the experts to the metrics', () => {
    harness.train(1);
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
    harness.handle({ kind: 'reported', workerId: 'a', runId: RUN, generation: 1, report });
    expect(harness.lastCommand('appendMetrics')?.row.moe).toEqual(moe);
  });
});

it('an expert worker that comes back to another coordinator is told the last step', () => {
  const before = { step: 1, loss: 2, votedLoss: undefined };
  harness.connectExperts('x', 'y');
  harness.train(2);
  harness.restart('auto');
  harness.comeBack('a');
  harness.comeBack('b', { ...before, votedLoss: 2 });
  harness.comeBack('x', {}, 'expertWorker');
  harness.comeBack('y', before, 'expertWorker');
  expect(harness.commandsOf('decideStep').slice(-2)).toMatchObject([
    { workerIds: ['b'] },
    { workerIds: ['y'], step: 2 },
  ]);
  expect(harness.log.at(-1)).toMatchObject({ kind: 'continued', step: 2 });
});
