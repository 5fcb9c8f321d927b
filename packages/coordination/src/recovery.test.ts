import { tinyRun } from '@weft/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { parseRunRecord, replay } from './index.js';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness({ returnMs: 0 });
  harness.connect('a', 'b');
  harness.launch();
  harness.train(2);
  harness.checkpoint(2);
  harness.train(1);
});

describe('a coordinator that comes back', () => {
  it('resumes its runs from their newest checkpoints when recovery is automatic', () => {
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

  it('writes the configurations of its runs again: the log may know more of them than the files', () => {
    harness.launch({}, 'queued');
    harness.restart('auto');
    const { config } = harness.state.runs.get(RUN)!.state;
    expect(harness.commandsOf('writeConfig').slice(-1)).toEqual([{ kind: 'writeConfig', runId: RUN, config }]);
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
    const failure = { code: 'internal', message: 'the disk is gone', hint: null } as const;
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

describe('a run whose checkpoints are gone', () => {
  const found = (step: number) => ({ checkpoint: { step, directory: `/step-${step}` }, skipped: [] });
  beforeEach(() => {
    harness.train(1);
    harness.checkpoint(4);
  });

  it('is not started again from step 0 by a coordinator that comes back, but fails and says how to go on', () => {
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: NO_CHECKPOINT });
    harness.connect('a', 'b');
    expect(harness.view()).toMatchObject({ status: 'failed', step: 4 });
    expect(harness.view().failure).toMatchObject({
      code: 'failed_precondition',
      message: `the log of run ${RUN} names the checkpoints step-2, step-4 in /, but none of them can be used (step-4: it is missing; step-2: it is missing)`,
    });
    expect(harness.view().failure?.hint).toContain(`\`weft resume ${RUN} --from-start\``);
    harness.resume(found(4));
    expect(harness.view()).toMatchObject({ status: 'running', step: 4 });
  });

  it('is not resumed by hand either, unless --from-start says so', () => {
    harness.stop(false);
    expect(() => harness.resume(NO_CHECKPOINT)).toThrow('none of them can be used');
    expect(harness.view()).toMatchObject({ status: 'stopped', step: 4 });
    harness.resume(NO_CHECKPOINT, { fromStep: 0 });
    expect(harness.lastCommand('setAsideCheckpoints')).toMatchObject({ afterStep: 0 });
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 1, startFrom: { kind: 'fresh' } });
    expect(harness.log.findLast(({ kind }) => kind === 'resumed')).toMatchObject({
      reason: 'it starts again from step 0, as asked',
    });
    harness.disconnect('a', 'b');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: NO_CHECKPOINT });
    expect(harness.view()).toMatchObject({ status: 'queued', step: 0 });
  });

  it('fails in the same way when they are there and none verifies', () => {
    harness.disconnect('a', 'b');
    const skipped = [
      { directory: '/step-4', reason: 'a byte differs', isUnhealthy: false },
      { directory: '/step-2', reason: 'a file is missing', isUnhealthy: false },
    ];
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: { checkpoint: undefined, skipped } });
    expect(harness.view().status).toBe('failed');
    expect(harness.view().reason).toContain('(step-4: a byte differs; step-2: a file is missing)');
  });

  it('goes on from an older one when only the newest is missing, and says so', () => {
    harness.disconnect('a', 'b');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: found(2) });
    expect(harness.view()).toMatchObject({ status: 'queued', step: 2 });
    expect(harness.view().reason).toContain('the checkpoint of step 2 (step-4 was skipped: it is missing)');
  });

  it('goes on from the step of a checkpoint that a person chose', () => {
    harness.stop(false);
    harness.resume(found(2), { fromStep: 2 });
    expect(harness.lastCommand('setAsideCheckpoints')).toMatchObject({ afterStep: 2 });
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 3, startFrom: { directory: '/step-2' } });
    expect(() => harness.resume(found(6), { fromStep: 6 })).toThrow('is running');
    harness.stop(false);
    expect(() => harness.resume(found(6), { fromStep: 6 })).toThrow('ends at step 2, before step 6');
  });
});

describe('a run that lost a worker for good', () => {
  const found = { checkpoint: { step: 2, directory: '/step-2' }, skipped: [] };
  const restart = (...workerIds: string[]) => {
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found });
    // The workers have connected to the coordinator before this one too.
    for (const workerId of workerIds) harness.disconnect(workerId);
    harness.connect(...workerIds);
  };
  const shrink = () => {
    harness.disconnect('b');
    harness.advance(500, 'a');
    expect(harness.view()).toMatchObject({ generation: 2, worldSize: 1 });
  };

  it('starts after a restart with as many workers as it had, once the others had time to come', () => {
    shrink();
    restart('a');
    expect(harness.view()).toMatchObject({ status: 'queued', workers: 2 });
    expect(harness.view().reason).toContain(
      'it needs 2, 1 is connected and 1 of them is idle; without them it starts in a moment, on 1 worker',
    );
    harness.advance(15_100, 'a');
    expect(harness.view()).toMatchObject({ status: 'running', generation: 3, worldSize: 1 });
  });

  it('takes all its workers again when they come in time', () => {
    shrink();
    restart('a', 'b');
    expect(harness.view()).toMatchObject({ status: 'running', worldSize: 2 });
  });

  it('is taken up by fewer workers after it lost all of them', () => {
    shrink();
    harness.disconnect('a');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found });
    harness.connect('c');
    harness.advance(15_100, 'c');
    expect(harness.view()).toMatchObject({ status: 'running', worldSize: 1 });
  });

  it('names the command that helps when the worker was lost together with the coordinator', () => {
    restart('a');
    harness.advance(60_000, 'a');
    expect(harness.view().status).toBe('queued');
    expect(harness.view().reason).toContain(
      `it needs 2, 1 is connected and 1 of them is idle; to go on without them: \`weft resume ${RUN} --workers 1\``,
    );
    harness.resume(found, { workers: 1 });
    expect(harness.view()).toMatchObject({ status: 'running', workers: 1, worldSize: 1 });
  });

  it('starts with minWorkers of its configuration, but not before the others had time to come', () => {
    harness.connect('c', 'd');
    harness.launch({ workers: 4, minWorkers: 1 }, 'elastic');
    expect(harness.view('elastic').status).toBe('queued');
    harness.advance(15_100, 'a', 'b', 'c', 'd');
    expect(harness.view('elastic')).toMatchObject({ status: 'running', worldSize: 2, workers: 4 });
  });

  it('gets its workers from a run of a lower priority when fewer than it asks for are left', () => {
    harness.stop(false);
    harness.launch({ workers: 2, queue: { priority: 1 } }, 'urgent');
    harness.disconnect('b');
    harness.advance(500, 'a');
    harness.train(2, 'urgent');
    harness.checkpoint(2, 'urgent');
    harness.launch({ workers: 1, queue: { priority: 2 }, steps: 2 }, 'first');
    harness.train(2, 'urgent');
    harness.checkpoint(4, 'urgent');
    expect(harness.view('first').status).toBe('running');
    harness.launch({ workers: 1 }, 'later');
    harness.train(2, 'first');
    harness.checkpoint(2, 'first');
    expect(harness.view('later').status).toBe('running');
    harness.advance(15_100, 'a');
    harness.train(2, 'later');
    harness.checkpoint(2, 'later');
    expect(harness.view('urgent')).toMatchObject({ status: 'running', worldSize: 1 });
  });

  it('needs only the expert workers that are left, also after a restart', () => {
    harness.stop(false);
    const moe = { experts: 4, everyLayers: 1 };
    harness.connectExperts('x', 'y');
    harness.launch(
      { expertWorkers: 2, model: { ...tinyRun.model, decoder: { ...tinyRun.model.decoder, moe } } },
      'moe',
    );
    expect(harness.view('moe').status).toBe('running');
    harness.disconnect('y');
    harness.handle({ kind: 'checkpointFound', runId: 'moe', found: NO_CHECKPOINT });
    expect(harness.state.runs.get('moe')?.state.lastWorkers).toEqual({ workers: 2, expertWorkers: 1 });
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: 'moe', found: NO_CHECKPOINT });
    harness.connect('a', 'b');
    harness.connectExperts('x');
    expect(harness.view('moe').reason).toContain('1 more expert worker: it needs 2, and 1 is connected');
    harness.advance(15_100, 'a', 'b', 'x');
    expect(harness.view('moe').status).toBe('running');
  });
});
