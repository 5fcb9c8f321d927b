import { checkpointDirectory } from '@weft/checkpoint';
import { inMemoryRing } from '@weft/collectives';
import { temporaryDirectory } from '@weft/testing';
import { expect, test } from 'vitest';
import { replaySteps } from './replay-steps.js';
import { TrainingSession } from './session.js';
import { FakeCoordinator, planOf, trainSignals } from './testing/fake-coordinator.js';
import { linearConfig, linearTask } from './testing/linear-task.js';

test('steps are the same when they are trained again from a checkpoint or the seed, and nothing is saved', async () => {
  await using directory = await temporaryDirectory();
  const config = linearConfig({ steps: 6, checkpoint: { everySteps: 2 } });
  const task = linearTask({ config });
  const coordinator = new FakeCoordinator();
  // A step that was refused then is refused again.
  coordinator.decide = ({ step }) => step !== 4;
  const session = await TrainingSession.open({ runId: 'linear-1', config, runDirectory: directory.path }, task);
  await session.train(planOf(), inMemoryRing(1)[0]!, coordinator, trainSignals());
  for (const { step, files } of coordinator.parts) await session.writeManifest(step, files);
  await session.close();

  const replayed: [number, number][] = [];
  const options = {
    ...{ runId: 'linear-1', config, signal: new AbortController().signal },
    isApplied: (step: number) => step !== 4,
    onStep: ({ step, loss }: { readonly step: number; readonly loss: number }) => void replayed.push([step, loss]),
  };
  const saved = { kind: 'checkpoint', directory: checkpointDirectory(directory.path, 2) } as const;
  await replaySteps({ ...options, startFrom: saved, firstStep: 3, lastStep: 6 }, task);
  expect(replayed).toEqual([3, 4, 5, 6].map((step) => [step, coordinator.losses[step - 1]]));
  replayed.length = 0;
  await replaySteps({ ...options, startFrom: { kind: 'fresh' }, firstStep: 1, lastStep: 2 }, task);
  expect(replayed).toEqual([1, 2].map((step) => [step, coordinator.losses[step - 1]]));
});

test('a replay that is interrupted says so', async () => {
  const config = linearConfig();
  const stop = new AbortController();
  const replay = replaySteps(
    {
      ...{ runId: 'linear-1', config, startFrom: { kind: 'fresh' }, firstStep: 1, lastStep: 4 },
      ...{ isApplied: () => true, onStep: () => stop.abort(), signal: stop.signal },
    },
    linearTask({ config }),
  );
  await expect(replay).rejects.toMatchObject({ code: 'cancelled' });
});
