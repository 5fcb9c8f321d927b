import { deferred, WeftError } from '@weft/common';
import { waitFor } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { RUN, vote, WorkerHarness } from './testing/worker-harness.js';

const place = { runId: RUN, generation: 1 };

describe('a worker whose coordinator goes away', () => {
  it('drops a run of which it has nothing yet, waits a little longer each time, and connects again', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    const { signals } = await stage.call();
    stage.connectFailure = new WeftError('unavailable', 'connection refused');
    desk.close(new WeftError('unavailable', 'shutting down'));
    await waitFor('the first pause', () => stage.clock.sleeping === 1);
    expect(signals.released.aborted).toBe(true);
    expect(stage.sessions[0]?.isClosed).toBe(true);
    const attemptsIn = async (durationMs: number) => {
      const before = stage.attempts;
      await stage.clock.advance(durationMs);
      await waitFor('the next pause', () => stage.clock.sleeping === 1);
      return stage.attempts - before;
    };
    expect(await attemptsIn(300)).toBe(0);
    expect(await attemptsIn(700)).toBe(1);
    await attemptsIn(60_000);
    // By now it waits for ten seconds, give or take a quarter.
    expect(await attemptsIn(60_000)).toBeGreaterThanOrEqual(4);
    expect(await attemptsIn(60_000)).toBeLessThanOrEqual(9);
    stage.connectFailure = undefined;
    await stage.clock.advance(12_500);
    const again = await stage.openStream(1);
    again.send(stage.assignment({ generation: 2 }));
    expect((await stage.call(0, 1)).plan.generation).toBe(2);
  });

  it('leaves for good when it is refused for a reason that time does not heal', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await waitFor('the stream', () => stage.streams[0]);
    await desk.receive('hello');
    desk.close(new WeftError('version_mismatch', 'worker w1 is Weft 0.1.0, the coordinator is Weft 0.2.0'));
    await expect(stage.done).rejects.toMatchObject({ code: 'version_mismatch' });
    expect(stage.streams).toHaveLength(1);
  });

  it.each(['the coordinator', 'the worker'])(
    'ends with the message of a bug in %s instead of reconnecting',
    async (where) => {
      await using stage = await WorkerHarness.open();
      const desk = await stage.openStream();
      const bug = new WeftError('internal', 'a case was not handled');
      if (where === 'the worker') stage.connectFailure = bug;
      desk.close(where === 'the worker' ? new WeftError('unavailable', 'shutting down') : bug);
      if (where === 'the worker') {
        await waitFor('the pause', () => stage.clock.sleeping === 1);
        await stage.clock.advance(60_000);
      }
      await expect(stage.done).rejects.toMatchObject({ code: 'internal', message: 'a case was not handled' });
    },
  );

  it('keeps its run, says what it holds, and sends again what was not decided once it goes on', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment({ generation: 3 }));
    const { link, signals } = await stage.call();
    const first = link.vote(vote(1));
    await desk.receive('stepVote');
    desk.send({ $case: 'stepDecision', stepDecision: { ...decisionOf(3, 1), apply: true } });
    await first;
    link.checkpointPart({ step: 1, files: [{ name: 'f', bytes: 1, sha256: '' }] });
    await desk.receive('checkpointPart');
    const second = link.vote({ ...vote(2), loss: 1.5 });
    await desk.receive('stepVote', 1);
    desk.close(new WeftError('unavailable', 'shutting down'));
    await waitFor('the pause', () => stage.clock.sleeping === 1);
    expect(signals.released.aborted).toBe(false);
    await stage.clock.advance(1000);
    const again = await stage.openStream(1);
    const { hello } = await again.receive('hello');
    const held = { runId: RUN, generation: 3, step: 1, loss: 2, hasVoted: true, votedLoss: 1.5, isTraining: true };
    expect(hello.held).toEqual(held);
    expect(again.all('stepVote')).toEqual([]);
    again.send({ $case: 'continueGeneration', continueGeneration: { runId: RUN, generation: 3 } });
    expect((await again.receive('stepVote')).stepVote).toMatchObject({ generation: 3, step: 2, loss: 1.5 });
    expect((await again.receive('checkpointPart')).checkpointPart.step).toBe(1);
    again.send({ $case: 'stepDecision', stepDecision: { ...decisionOf(3, 2), apply: false } });
    expect((await second).apply).toBe(false);
  });

  it('does not offer to go on with a generation that was to stop: nobody knows of that stop any more', async () => {
    await using stage = await WorkerHarness.open();
    await loseCoordinator(stage, { afterStep: 1 });
    await stage.clock.advance(1000);
    const again = await stage.openStream(1);
    expect((await again.receive('hello')).hello.held).toMatchObject({ hasVoted: true, isTraining: false });
  });

  it('offers nothing of a step that it was told and could not apply', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    const { link, fail } = await stage.call();
    const decided = link.vote(vote(1));
    await desk.receive('stepVote');
    desk.send({ $case: 'stepDecision', stepDecision: { ...decisionOf(1, 1), apply: true } });
    await decided;
    desk.close(new WeftError('unavailable', 'shutting down'));
    await waitFor('the pause', () => stage.clock.sleeping === 1);
    fail(new WeftError('out_of_memory', 'no memory for the update'));
    await stage.clock.advance(1000);
    const again = await stage.openStream(1);
    expect((await again.receive('hello')).hello.held).toBeUndefined();
    expect(stage.sessions[0]?.isClosed).toBe(true);
  });

  it('says that it leaves after its hello when it is asked to end while it connects again', async () => {
    await using stage = await WorkerHarness.open();
    await loseCoordinator(stage);
    stage.onConnect = () => stage.leave();
    await stage.clock.advance(1000);
    const again = await stage.openStream(1);
    await again.receive('leaving');
    expect(again.received.map(({ $case }) => $case).slice(0, 2)).toEqual(['hello', 'leaving']);
  });

  it('drops its run when the next coordinator says so', async () => {
    await using stage = await WorkerHarness.open();
    await loseCoordinator(stage);
    await stage.clock.advance(1000);
    const again = await stage.openStream(1);
    expect((await again.receive('hello')).hello.held).toMatchObject({ step: 0, hasVoted: true });
    again.send({
      $case: 'release',
      release: { runId: RUN, generation: 1, discardState: true, reason: 'it has ended' },
    });
    await waitFor('the end of the session', () => stage.sessions[0]?.isClosed === true);
  });
});

describe('a worker that joins a run under way, or leaves it', () => {
  it('gets ready for a run under way with a step that does not count, and says so', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    const { configJson, runDirectory } = stage.assignment().assignment;
    const addresses = { ringAddresses: ['127.0.0.1:1'], expertAddresses: [] };
    const prepareRun = { runId: RUN, generation: 4, configJson, runDirectory, step: 9, ...addresses };
    desk.send({ $case: 'prepareRun', prepareRun });
    expect((await desk.receive('runPrepared')).runPrepared).toMatchObject({ runId: RUN, failure: undefined });
    expect(stage.sessions[0]?.warmUps).toEqual([9]);
    stage.openFailure = new WeftError('native_library', 'no TensorFlow');
    desk.send({ $case: 'prepareRun', prepareRun: { ...prepareRun, runId: 'other' } });
    expect((await desk.receive('runPrepared', 1)).runPrepared).toMatchObject({
      runId: 'other',
      failure: { code: 'native_library', message: 'no TensorFlow' },
    });
  });

  it('says nothing of a run that it was let go from while it got ready', async () => {
    await using stage = await WorkerHarness.open();
    const warming = deferred();
    stage.onOpen = (session) => {
      session.warming = warming.promise;
    };
    const desk = await stage.openStream();
    const { configJson, runDirectory } = stage.assignment().assignment;
    const addresses = { ringAddresses: ['127.0.0.1:1'], expertAddresses: [] };
    const prepareRun = { runId: RUN, generation: 4, configJson, runDirectory, step: 9, ...addresses };
    desk.send({ $case: 'prepareRun', prepareRun });
    await waitFor('the step', () => stage.sessions[0]?.warmUps.length === 1);
    desk.send({ $case: 'release', release: { runId: RUN, generation: 4, discardState: true, reason: 'it ended' } });
    desk.send({ $case: 'prepareRun', prepareRun: { ...prepareRun, runId: 'other' } });
    // Its time is told when it is closed.
    await desk.receive('timeReport');
    warming.resolve();
    expect((await desk.receive('runPrepared')).runPrepared.runId).toBe('other');
    expect(desk.all('runPrepared')).toHaveLength(1);
  });

  it('finishes the step after which another generation follows, and is not interrupted by it', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    const { link, signals, finish } = await stage.call();
    const decided = link.vote(vote(1));
    await desk.receive('stepVote');
    desk.send({ $case: 'endGeneration', endGeneration: { runId: RUN, generation: 1, afterStep: 1 } });
    desk.send({ $case: 'stepDecision', stepDecision: { ...decisionOf(1, 1), apply: true } });
    desk.send(stage.assignment({ generation: 2, firstStep: 2, state: { $case: 'keep', keep: true } }));
    await decided;
    expect(signals.handOver?.afterStep).toBe(1);
    expect(signals.released.aborted).toBe(false);
    finish({ outcome: 'handedOver', step: 1 });
    expect((await stage.call(1)).plan).toMatchObject({ generation: 2, firstStep: 2, state: { kind: 'keep' } });
    expect(desk.all('runEnded')).toEqual([]);
  });

  it('tells its session what the run is trained on, generation by generation', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    const { assignment } = stage.assignment();
    const mixtureChanges = [{ fromBatch: 2, weights: { captioned: 1, interleaved: 1, text: 2 }, indexVersion: 2 }];
    const config = JSON.parse(assignment.configJson) as { data: object };
    const changed = JSON.stringify({ ...config, data: { ...config.data, mixtureChanges } });
    desk.send(stage.assignment());
    const { finish } = await stage.call();
    desk.send({ $case: 'endGeneration', endGeneration: { runId: RUN, generation: 1, afterStep: 1 } });
    const state = { $case: 'keep', keep: true } as const;
    desk.send(stage.assignment({ generation: 2, firstStep: 2, state, configJson: changed }));
    finish({ outcome: 'handedOver', step: 1 });
    await stage.call(1);
    expect(stage.sessions).toHaveLength(1);
    expect(stage.sessions[0]?.followed.map(({ data }) => data.mixtureChanges)).toEqual([[], mixtureChanges]);
  });

  it('leaves its run after the current step when it is asked to end', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    await stage.call();
    stage.leave();
    await desk.receive('leaving');
    expect(desk.hasEnded).toBe(false);
    desk.send({ $case: 'release', release: { runId: RUN, generation: 1, discardState: true, reason: 'it left' } });
    await stage.done;
    await waitFor('the end of the stream', () => desk.hasEnded);
    expect(stage.sessions[0]?.isClosed).toBe(true);
  });
});

/** The coordinator goes away when the worker has voted for step 1, and perhaps was told to stop after a step. */
async function loseCoordinator(stage: WorkerHarness, { afterStep }: { afterStep?: number } = {}) {
  const desk = await stage.openStream();
  desk.send(stage.assignment());
  const { link, signals } = await stage.call();
  link.vote(vote(1)).catch(() => {});
  await desk.receive('stepVote');
  if (afterStep !== undefined) desk.send({ $case: 'stopRun', stopRun: { ...place, afterStep, reason: 'test' } });
  await waitFor('the stop', () => signals.stop.afterStep === afterStep);
  desk.close(new WeftError('unavailable', 'shutting down'));
  await waitFor('the pause', () => stage.clock.sleeping === 1);
}

function decisionOf(generation: number, step: number) {
  const numbers = { gradNorm: 1, lossTokens: 9, leastCommunicationSeconds: 0 };
  return { runId: RUN, generation, step, ...numbers, save: false };
}
