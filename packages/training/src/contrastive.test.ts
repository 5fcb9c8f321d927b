import { checkpointDirectory } from '@weft/checkpoint';
import { inMemoryRing, type ProcessGroup } from '@weft/collectives';
import type { RunConfigInput } from '@weft/config';
import { type TrainTask, taskOf } from '@weft/tasks';
import { temporaryDirectory } from '@weft/testing';
import { rankSlice, stepSequences } from '@weft/topology';
import { expect, test } from 'vitest';
import type { GenerationPlan } from './ports.js';
import { TrainingSession } from './session.js';
import { FakeCoordinator, planOf, trainSignals } from './testing/fake-coordinator.js';
import { pairsConfig, pairsMicrobatches } from './testing/pairs.js';

/** A session of one rank that trains a contrastive task on pairs of noise. */
async function openSession(runDirectory: string, changes: RunConfigInput = {}) {
  const config = pairsConfig({ globalBatchSize: 8, microbatchSize: 2, ...changes });
  const task: TrainTask = {
    ...taskOf(config),
    openData: async () => ({
      identityOf: () => 'pairs',
      openLoader: () => ({
        load: async (step, rank, worldSize) => {
          const all = stepSequences(step, config.globalBatchSize);
          const own = rankSlice(all.first, all.end, rank, worldSize);
          return { microbatches: pairsMicrobatches(config, own), digest: `${own.first}-${own.end}` };
        },
        close: async () => {},
      }),
      heldOut: [
        {
          source: 'captioned',
          weight: 1,
          async *microbatches(rank: number, worldSize: number) {
            yield* pairsMicrobatches(config, rankSlice(100, 104, rank, worldSize));
          },
        },
      ],
      close: async () => {},
    }),
  };
  const session = await TrainingSession.open({ runId: 'pairs-1', config, runDirectory }, task);
  const coordinator = new FakeCoordinator();
  const signals = trainSignals();
  const train = async (plan: Partial<GenerationPlan> = {}, group: ProcessGroup = inMemoryRing(1)[0]!) => {
    const outcome = await session.train(planOf(plan), group, coordinator, signals);
    for (const { step, files } of coordinator.parts.splice(0)) await session.writeManifest(step, files);
    return outcome;
  };
  return { coordinator, signals, train, [Symbol.asyncDispose]: () => session.close() };
}

test('a contrastive run that is resumed from a checkpoint has the losses of an uninterrupted one, bit for bit', async () => {
  await using directory = await temporaryDirectory();
  await using whole = await openSession(directory.path);
  await whole.train();
  const { losses } = whole.coordinator;
  expect(losses).toHaveLength(4);
  expect(whole.coordinator.reports[0]?.measures).toEqual({
    accuracy: expect.any(Number),
    scale: expect.closeTo(10, 2),
  });

  await using run = await temporaryDirectory();
  await using first = await openSession(run.path);
  first.signals.stopAfter(2);
  await first.train();
  await using resumed = await openSession(run.path);
  const state = { kind: 'checkpoint', directory: checkpointDirectory(run.path, 2) } as const;
  await resumed.train({ generation: 2, firstStep: 3, state });
  expect(resumed.coordinator.losses).toEqual(losses.slice(2));
});

test('ranks train to the losses of one, and have the same bits among each other', async () => {
  await using directory = await temporaryDirectory();
  await using alone = await openSession(directory.path, { microbatchSize: 8 });
  await alone.train();
  const ring = inMemoryRing(2);
  const ranks = await Promise.all(ring.map(() => openSession(directory.path, { workers: 2 })));
  await Promise.all(ranks.map(({ train }, rank) => train({ rank, worldSize: 2 }, ring[rank]!)));
  const [first, second] = ranks.map(({ coordinator }) => coordinator.losses);
  expect(second).toEqual(first);
  for (const [step, loss] of alone.coordinator.losses.entries()) expect(first![step]).toBeCloseTo(loss, 4);
  for (const rank of ranks) await rank[Symbol.asyncDispose]();
  for (const group of ring) await group.close();
});

test('the scale is learned, and never rises above 100', async () => {
  await using directory = await temporaryDirectory();
  const optimizer = { learningRate: 0.5, warmupSteps: 0 };
  await using session = await openSession(directory.path, { steps: 12, optimizer });
  await session.train();
  const scales = session.coordinator.reports.map(({ measures }) => measures?.scale ?? Number.NaN);
  expect(new Set(scales).size).toBeGreaterThan(3);
  for (const scale of scales) expect(scale).toBeLessThanOrEqual(100 + 1e-4);
});

test('the held-out loss compares the pairs of a microbatch', async () => {
  await using directory = await temporaryDirectory();
  const evaluation = { everySteps: 2, sequencesPerSource: 4 };
  await using session = await openSession(directory.path, { evaluation });
  await session.train();
  const losses = session.coordinator.reports.flatMap(({ heldOut }) => (heldOut === undefined ? [] : [heldOut.loss]));
  expect(losses).toHaveLength(2);
  // Of two pairs, chance is ln 2; what is told of noise is not far from it.
  for (const loss of losses) expect(loss).toBeGreaterThan(0.01);
});
