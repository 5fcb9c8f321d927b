import { DataPlane } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { Role, RunEnded_Outcome } from '@weft/proto';
import { waitFor } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { RUN, tinyConfig, vote, WorkerHarness } from './testing/worker-harness.js';

const place = { runId: RUN, generation: 1 };
/** What a decision carries for expert workers. */
const norms = { save: false, gradNorm: 1, lossTokens: 9, leastCommunicationSeconds: 0.5 };
const release = (changes: { generation?: number; discardState?: boolean } = {}) =>
  ({ $case: 'release', release: { ...place, discardState: false, reason: 'test', ...changes } }) as const;

const NO_TIMES = { communicationSeconds: 0, dataSeconds: 0, computeSeconds: 0, applySecondsBefore: 0 };

describe('a worker', () => {
  it('sends its identity, then heartbeats at the interval that the coordinator sets', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    expect(desk.received[0]).toEqual({
      $case: 'hello',
      hello: {
        workerId: 'w1',
        hostName: 'host',
        processId: 7,
        device: 'none',
        metricsAddress: '',
        role: Role.ROLE_RANK,
        bf16Backends: ['tensorflow'],
        memory: undefined,
        peak: undefined,
        version: '0.1.0',
        dataPlaneAddress: stage.dataPlane.address,
      },
    });
    await desk.receive('heartbeat', 2);
  });

  it('trains its assignment: votes wait for decisions, reports and parts go through, the end is reported', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    const { finish, link, plan } = await stage.call();
    const place1 = { generation: 1, rank: 0, worldSize: 1, expertWorkers: 0, expertCopies: [], expertHolders: [] };
    expect(plan).toEqual({ ...place1, firstStep: 1, trainedToStep: 0, newcomers: [], state: { kind: 'fresh' } });
    expect(stage.sessions[0]?.options).toMatchObject({ runId: RUN, runDirectory: '/runs/tiny-1', localWorkers: 1 });
    expect(stage.sessions[0]?.options.config).toEqual(tinyConfig);
    const decision = link.vote(vote(1));
    expect((await desk.receive('stepVote')).stepVote).toEqual({ ...place, ...vote(1), ...NO_TIMES, sourceLoss: {} });
    desk.send({ $case: 'stepDecision', stepDecision: { ...place, step: 1, apply: false, ...norms } });
    expect(await decision).toEqual({ apply: false, leastCommunicationSeconds: 0.5 });
    const seconds = { dataSeconds: 1, computeSeconds: 2, communicationSeconds: 3, applySeconds: 4 };
    link.report({ step: 1, learningRate: 1e-3, tokensPerSecond: 5, ...seconds, moe: undefined });
    expect((await desk.receive('stepReport')).stepReport).toMatchObject({ ...place, step: 1, computeSeconds: 2 });
    link.checkpointPart({ step: 1, files: [{ name: 'a', bytes: 1, sha256: 'b' }] });
    expect((await desk.receive('checkpointPart')).checkpointPart.files).toHaveLength(1);
    finish({ outcome: 'finished', step: 6 });
    expect((await desk.receive('runEnded')).runEnded).toMatchObject({
      ...place,
      outcome: RunEnded_Outcome.OUTCOME_FINISHED,
      step: 6,
    });
    expect(stage.sessions[0]?.isClosed).toBe(false);
  });

  it('records the steps that it is asked for, and answers with its clock', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    await stage.call();
    desk.send({ $case: 'clockProbe', clockProbe: { profileId: 'p', coordinatorMs: 7 } });
    const { clockReply } = await desk.receive('clockReply');
    expect(clockReply).toMatchObject({ profileId: 'p', coordinatorMs: 7 });
    expect(Math.abs(clockReply.workerMs - Date.now())).toBeLessThan(60_000);
    const profile = { profileId: 'p', runId: RUN, generation: 1, firstStep: 2, lastStep: 2 };
    desk.send({ $case: 'profile', profile });
    const spans = stage.sessions[0]?.options.spans;
    // The message is behind the probe on the same stream.
    desk.send({ $case: 'clockProbe', clockProbe: { profileId: 'p', coordinatorMs: 8 } });
    await desk.receive('clockReply', 1);
    for (const step of [1, 2, 3]) {
      spans?.atStep(step);
      spans?.add('step', `step ${step}`, performance.now(), { bytes: step });
    }
    const { profilePart } = await desk.receive('profilePart');
    expect(profilePart).toMatchObject({ profileId: 'p', leftOut: 0, isLast: true });
    expect(profilePart.spans.map(({ name, detailsJson }) => [name, detailsJson])).toEqual([['step 2', '{"bytes":2}']]);
    // A run that is not here has nothing to show, and nobody waits for it.
    desk.send({ $case: 'profile', profile: { ...profile, runId: 'other' } });
    expect((await desk.receive('profilePart', 1)).profilePart).toMatchObject({ spans: [], isLast: true });
  });

  it('joins a ring of several and counts those that share its host', async () => {
    await using first = await WorkerHarness.open();
    await using second = await WorkerHarness.open();
    const ringAddresses = [first.dataPlane.address, second.dataPlane.address];
    (await first.openStream()).send(first.assignment({ ringAddresses }));
    (await second.openStream()).send(second.assignment({ ringAddresses, rank: 1 }));
    expect((await first.call()).plan).toMatchObject({ rank: 0, worldSize: 2 });
    expect((await second.call()).plan).toMatchObject({ rank: 1, worldSize: 2 });
    expect(second.sessions[0]?.options.localWorkers).toBe(2);
  });

  it('keeps its session from one generation to the next, and begins the next when the trainer has let go', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    const first = await stage.call();
    const lost = first.link.vote(vote(1));
    desk.send(release());
    desk.send(stage.assignment({ generation: 2, firstStep: 1, state: { $case: 'keep', keep: true } }));
    await expect(lost).rejects.toMatchObject({ code: 'cancelled' });
    const second = await stage.call(1);
    expect(first.signals.released.aborted).toBe(true);
    expect(second.plan).toMatchObject({ generation: 2, state: { kind: 'keep' } });
    expect(stage.sessions).toHaveLength(1);
    await expect(first.link.vote(vote(2))).rejects.toMatchObject({ code: 'cancelled' });
    expect(desk.all('runEnded')).toEqual([]);
    expect(desk.all('ringBroken')).toEqual([]);
  });

  it('applies a decision that came right before the release', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    const { link } = await stage.call();
    const decision = link.vote(vote(1));
    await desk.receive('stepVote');
    desk.send({ $case: 'stepDecision', stepDecision: { ...place, step: 1, apply: true, ...norms } });
    desk.send(release());
    expect(await decision).toEqual({ apply: true, leastCommunicationSeconds: 0.5 });
  });

  it('does not take the messages of another generation for its own', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment({ generation: 3 }));
    const { link, signals } = await stage.call();
    const decision = link.vote(vote(1));
    await desk.receive('stepVote');
    desk.send({ $case: 'stepDecision', stepDecision: { ...place, generation: 2, step: 1, apply: false, ...norms } });
    desk.send({ $case: 'stopRun', stopRun: { ...place, generation: 2, afterStep: 1, reason: '' } });
    desk.send(release({ generation: 2 }));
    desk.send({ $case: 'stepDecision', stepDecision: { ...place, generation: 3, step: 1, apply: true, ...norms } });
    expect(await decision).toEqual({ apply: true, leastCommunicationSeconds: 0.5 });
    expect(signals.stop.afterStep).toBeUndefined();
    expect(signals.released.aborted).toBe(false);
  });

  it('passes on after which step to stop', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    const { signals } = await stage.call();
    desk.send({ $case: 'stopRun', stopRun: { ...place, afterStep: 4, reason: '' } });
    await waitFor('the stop', () => signals.stop.afterStep === 4);
  });

  it('writes the manifest when asked to, while it trains', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    await stage.call();
    desk.send({ $case: 'writeManifest', writeManifest: { ...place, step: 4, files: [] } });
    expect((await desk.receive('checkpointWritten')).checkpointWritten).toEqual({
      ...place,
      step: 4,
      directory: '/step-4',
      manifestSha256: 'hash-4',
    });
    desk.send({ $case: 'writeManifest', writeManifest: { ...place, step: 4, files: [] } });
    expect((await desk.receive('checkpointWritten', 1)).checkpointWritten.manifestSha256).toBe('hash-4');
    expect(stage.sessions[0]?.manifests, 'another coordinator asks again').toEqual([4]);
    stage.sessions[0]!.manifestFailure = new WeftError('failed_precondition', 'the disk is full', {
      hint: 'free some',
    });
    desk.send({ $case: 'writeManifest', writeManifest: { ...place, step: 6, files: [] } });
    expect((await desk.receive('runEnded')).runEnded).toMatchObject({
      outcome: RunEnded_Outcome.OUTCOME_FAILED,
      failure: { code: 'failed_precondition', message: 'the disk is full', hint: 'free some' },
    });
  });

  it('closes a run when asked to, and opens the next one only when the machine is free', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    await stage.call();
    desk.send(release({ discardState: true }));
    await waitFor('the end of the first session', () => stage.sessions[0]?.isClosed);
    desk.send(stage.assignment({ runId: 'tiny-2' }));
    await stage.call(0, 1);
    stage.sessions[1]!.closing = new Promise((resolve) => setTimeout(resolve, 50));
    desk.send({ $case: 'release', release: { runId: 'tiny-2', generation: 1, discardState: true, reason: '' } });
    desk.send(stage.assignment({ runId: 'tiny-3' }));
    await stage.call(0, 2);
    expect(stage.openAtOnce).toBe(1);
  });
});

describe('what a worker reports when training fails', () => {
  const endings = async (error: WeftError) => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    desk.send(
      stage.assignment({ firstStep: 5, state: { $case: 'checkpointDirectory', checkpointDirectory: '/step-4' } }),
    );
    (await stage.call()).fail(error);
    await waitFor('the end', () => desk.all('ringBroken').length + desk.all('runEnded').length > 0);
    return { broken: desk.all('ringBroken')[0]?.ringBroken, ended: desk.all('runEnded')[0]?.runEnded };
  };

  it('is a broken ring when a peer is gone', async () => {
    expect(await endings(new WeftError('unavailable', 'rank 1 is gone'))).toEqual({
      broken: { ...place, step: 5, reason: 'rank 1 is gone', unreachable: [] },
      ended: undefined,
    });
  });

  it('is the failure of the run, whole, for anything else', async () => {
    const { broken, ended } = await endings(new WeftError('corrupt_data', 'x.tar is torn', { hint: 'fetch it again' }));
    expect(broken).toBeUndefined();
    expect(ended).toMatchObject({
      step: 4,
      outcome: RunEnded_Outcome.OUTCOME_FAILED,
      failure: { code: 'corrupt_data', message: 'x.tar is torn', hint: 'fetch it again' },
    });
  });

  it('is a broken ring when the ring cannot be joined', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    // The other rank has our address, but another token.
    await using other = await WorkerHarness.open();
    const ringAddresses = [stage.dataPlane.address, other.dataPlane.address];
    (await other.openStream()).send(other.assignment({ ringAddresses, rank: 1, ringToken: 'other' }));
    desk.send(stage.assignment({ ringAddresses }));
    expect((await desk.receive('ringBroken')).ringBroken).toMatchObject({ ...place, step: 1 });
    expect(desk.all('runEnded')).toEqual([]);
  });

  it('is a broken ring when a newcomer cannot be reached that is no neighbour in it: the state would never arrive', async () => {
    await using stage = await WorkerHarness.open();
    const desk = await stage.openStream();
    await using second = await WorkerHarness.open();
    await using last = await WorkerHarness.open();
    const gone = await DataPlane.listen();
    await gone.close();
    const addresses = [stage.dataPlane.address, second.dataPlane.address, gone.address, last.dataPlane.address];
    desk.send(stage.assignment({ ringAddresses: addresses, newcomers: [2] }));
    expect((await desk.receive('ringBroken')).ringBroken).toMatchObject({
      reason: `rank 2 at ${gone.address} cannot be reached`,
      unreachable: [gone.address],
    });
  });

  it('is a failure when the session cannot be opened, and the next generation tries again', async () => {
    await using stage = await WorkerHarness.open();
    stage.openFailure = new WeftError('not_found', 'there is no index');
    const desk = await stage.openStream();
    desk.send(stage.assignment());
    expect((await desk.receive('runEnded')).runEnded.failure).toMatchObject({ message: 'there is no index' });
    stage.openFailure = undefined;
    desk.send(stage.assignment({ generation: 2 }));
    expect((await stage.call()).plan.generation).toBe(2);
  });
});
