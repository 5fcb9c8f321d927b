import { beforeEach, describe, expect, it } from 'vitest';
import { parseRunRecord, replay } from './index.js';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.connect('a', 'b');
  harness.launch();
  harness.train(2);
  harness.checkpoint(2);
  harness.train(1);
});

describe('a coordinator that comes back', () => {
  it('lets its runs go on from their newest checkpoints when told so', () => {
    harness.restart('auto');
    expect(harness.view().status).toBe('queued');
    expect(harness.view().reason).toBe(
      'the coordinator went away while the run was running at step 3; its newest checkpoint is being looked up',
    );
    harness.connect('a', 'b');
    const checkpoint = { step: 2, directory: '/step-2' };
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: { checkpoint, skipped: [] } });
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 3 });
    harness.train(4);
    harness.checkpoint(6);
    expect(harness.view().status).toBe('finished');
  });

  it('leaves them to a person otherwise, and says how', () => {
    harness.launch({}, 'queued');
    harness.restart('manual');
    for (const runId of [RUN, 'queued']) expect(harness.view(runId).status).toBe('stopped');
    expect(harness.view().reason).toBe(
      `the coordinator went away while the run was running at step 3; go on from its newest checkpoint with \`weft resume ${RUN}\``,
    );
    harness.connect('a', 'b');
    expect(harness.view().worldSize).toBe(0);
  });

  it('does not start again what was being stopped', () => {
    harness.stop();
    harness.restart('auto');
    expect(harness.view().status).toBe('stopped');
  });

  it('leaves ended runs alone, and queued ones that never trained as they were', () => {
    harness.train(3);
    harness.checkpoint(6);
    harness.launch({ workers: 3 }, 'queued');
    harness.restart('auto');
    expect(harness.view().status).toBe('finished');
    expect(harness.commandsOf('findCheckpoint').map(({ runId }) => runId)).toEqual(['queued']);
    harness.handle({ kind: 'checkpointFound', runId: 'queued', found: NO_CHECKPOINT });
    expect(harness.logs.get('queued')?.map(({ kind }) => kind)).toEqual(['launched']);
    harness.connect('a', 'b', 'c');
    expect(harness.view('queued').status).toBe('running');
  });

  it('fails a run whose checkpoints cannot be looked up', () => {
    harness.restart('auto');
    const failure = { code: 'internal', message: 'the disk is gone', cure: null } as const;
    harness.handle({ kind: 'runFailed', runId: RUN, failure });
    expect(harness.view()).toMatchObject({ status: 'failed', reason: 'the disk is gone' });
  });
});

describe('a log', () => {
  it('is refused when it is empty, begins in the middle or has a gap', () => {
    expect(() => replay([])).toThrow('the log of a run is empty');
    expect(() => replay(harness.log.slice(1))).toThrow('begins with "assigned" instead of "launched"');
    const gap = harness.log.filter((record) => record.kind !== 'committed' || record.entry.step !== 2);
    expect(() => replay(gap)).toThrow('commits step 3 after step 1');
    expect(() => parseRunRecord({ kind: 'teleported' })).toThrow('has the unknown kind "teleported"');
    expect(() => parseRunRecord('launched')).toThrow('unknown kind');
  });
});
