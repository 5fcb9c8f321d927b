import { beforeEach, describe, expect, it } from 'vitest';
import { asRunRecord, replay } from './index.js';
import { NOTHING, RUN, Scene } from './testing/scene.js';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
  scene.attend('a', 'b');
  scene.launch();
  scene.train(2);
  scene.checkpoint(2);
  scene.train(1);
});

describe('a coordinator that comes back', () => {
  it('lets its runs go on from their newest checkpoints when told so', () => {
    scene.restart('auto');
    expect(scene.view().status).toBe('queued');
    expect(scene.view().reason).toBe(
      'the coordinator went away while the run was running at step 3; its newest checkpoint is being looked up',
    );
    scene.attend('a', 'b');
    const checkpoint = { step: 2, directory: '/step-2' };
    scene.on({ kind: 'checkpointFound', runId: RUN, found: { checkpoint, skipped: [] } });
    expect(scene.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 3 });
    scene.train(4);
    scene.checkpoint(6);
    expect(scene.view().status).toBe('finished');
  });

  it('leaves them to a person otherwise, and says how', () => {
    scene.launch({}, 'queued');
    scene.restart('manual');
    for (const runId of [RUN, 'queued']) expect(scene.view(runId).status).toBe('stopped');
    expect(scene.view().reason).toBe(
      `the coordinator went away while the run was running at step 3; go on from its newest checkpoint with \`weft resume ${RUN}\``,
    );
    scene.attend('a', 'b');
    expect(scene.view().worldSize).toBe(0);
  });

  it('does not start again what was being stopped', () => {
    scene.stop();
    scene.restart('auto');
    expect(scene.view().status).toBe('stopped');
  });

  it('leaves ended runs alone, and queued ones that never trained as they were', () => {
    scene.train(3);
    scene.checkpoint(6);
    scene.launch({ workers: 3 }, 'queued');
    scene.restart('auto');
    expect(scene.view().status).toBe('finished');
    expect(scene.commandsOf('findCheckpoint').map(({ runId }) => runId)).toEqual(['queued']);
    scene.on({ kind: 'checkpointFound', runId: 'queued', found: NOTHING });
    expect(scene.logs.get('queued')?.map(({ kind }) => kind)).toEqual(['launched']);
    scene.attend('a', 'b', 'c');
    expect(scene.view('queued').status).toBe('running');
  });

  it('fails a run whose checkpoints cannot be looked up', () => {
    scene.restart('auto');
    const failure = { code: 'internal', message: 'the disk is gone', cure: null } as const;
    scene.on({ kind: 'runFailed', runId: RUN, failure });
    expect(scene.view()).toMatchObject({ status: 'failed', reason: 'the disk is gone' });
  });
});

describe('a log', () => {
  it('is refused when it is empty, begins in the middle or has a gap', () => {
    expect(() => replay([])).toThrow('the log of a run is empty');
    expect(() => replay(scene.log.slice(1))).toThrow('begins with "assigned" instead of "launched"');
    const gap = scene.log.filter((record) => record.kind !== 'committed' || record.entry.step !== 2);
    expect(() => replay(gap)).toThrow('commits step 3 after step 1');
    expect(() => asRunRecord({ kind: 'teleported' })).toThrow('has the unknown kind "teleported"');
    expect(() => asRunRecord('launched')).toThrow('unknown kind');
  });
});
