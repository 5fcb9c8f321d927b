import { inMemoryRing, type StateShare } from '@weft/collectives';
import { deferred } from '@weft/common';
import { temporaryDirectory } from '@weft/testing';
import { expect, test } from 'vitest';
import type { GenerationPlan } from './ports.js';
import { TrainingSession } from './session.js';
import type { StateTransfer } from './state-transfer.js';
import { FakeCoordinator, planOf, trainSignals } from './testing/fake-coordinator.js';
import { linearConfig, linearTask } from './testing/linear-task.js';

/** The way from holders to one newcomer, within this process. */
function memoryTransfer(holders: number) {
  const shares = Array.from({ length: holders }, () => deferred<Uint8Array>());
  const transferOf = (holder: number): StateTransfer => ({
    async send(chunks) {
      const parts: Uint8Array[] = [];
      for await (const chunk of chunks) parts.push(Uint8Array.from(chunk));
      shares[holder]!.resolve(Buffer.concat(parts));
    },
    receive: async () =>
      shares.map(({ promise }): StateShare => {
        let taken = 0;
        return {
          read: async (target) => {
            target.set((await promise).subarray(taken, taken + target.length));
            taken += target.length;
          },
          end: async () => expect(taken).toBe((await promise).length),
          close: () => {},
        };
      }),
    close: () => {},
  });
  return transferOf;
}

test('a newcomer gets the state of the others and trains on with them, as one that was there from the start', async () => {
  await using folder = await temporaryDirectory();
  const config = linearConfig({ workers: 3, globalBatchSize: 12, microbatchSize: 1, steps: 6 });
  const task = linearTask({ config });
  const open = () => TrainingSession.open({ runId: 'linear-1', config, runDirectory: folder.path }, task);
  const sessions = await Promise.all([open(), open(), open()]);
  const coordinators = sessions.map(() => new FakeCoordinator());
  const train = (
    ranks: readonly number[],
    plan: Partial<GenerationPlan>,
    transferOf?: (rank: number) => StateTransfer,
  ) => {
    const ring = inMemoryRing(ranks.length);
    const signals = trainSignals();
    if (plan.firstStep === undefined) signals.stopAfter(3);
    return Promise.all(
      ranks.map((session, rank) => {
        const isNewcomer = plan.newcomers?.includes(rank) === true;
        const state = isNewcomer ? { kind: 'peers' as const } : (plan.state ?? { kind: 'fresh' as const });
        const own = planOf({ ...plan, rank, worldSize: ranks.length, state });
        return sessions[session]!.train(
          own,
          ring[rank]!,
          coordinators[session]!,
          signals,
          undefined,
          transferOf?.(rank),
        );
      }),
    );
  };
  await train([0, 1], {});
  await sessions[2]!.warmUp(4, 3);
  const transferOf = memoryTransfer(2);
  const outcomes = await train(
    [0, 1, 2],
    { generation: 2, firstStep: 4, state: { kind: 'keep' }, newcomers: [2] },
    (rank) => transferOf(rank),
  );
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(['finished', 'finished', 'finished']);
  expect(coordinators[2]!.losses).toHaveLength(3);
  expect(coordinators[2]!.losses).toEqual(coordinators[0]!.losses.slice(-3));

  const alone = await open();
  const coordinator = new FakeCoordinator();
  await alone.train(planOf(), inMemoryRing(1)[0]!, coordinator, trainSignals());
  for (const [index, loss] of coordinator.losses.entries())
    expect(coordinators[0]!.losses[index]! / loss).toBeCloseTo(1, 5);
  for (const session of [...sessions, alone]) await session.close();
});
