import { checkpointDirectory } from '@weft/checkpoint';
import { inMemoryRing } from '@weft/collectives';
import type { RunConfigInput } from '@weft/config';
import type { ForwardPass, TaskParameter, TrainTask } from '@weft/tasks';
import { temporaryDirectory } from '@weft/testing';
import { expect, test } from 'vitest';
import type { GenerationPlan } from './ports.js';
import { TrainingSession } from './session.js';
import { FakeCoordinator, planOf, trainSignals } from './testing/fake-coordinator.js';
import { type LinearTaskOptions, linearConfig, linearTask } from './testing/linear-task.js';

/** A session of one rank on the linear task, and its coordinator, which makes checkpoints of what is saved. */
async function openSession(
  runDirectory: string,
  changes: RunConfigInput = {},
  options: Omit<LinearTaskOptions, 'config'> = {},
  changeTask: (task: TrainTask) => TrainTask = (task) => task,
) {
  const config = linearConfig(changes);
  const task = changeTask(linearTask({ config, ...options }));
  const session = await TrainingSession.open({ runId: 'linear-1', config, runDirectory }, task);
  const coordinator = new FakeCoordinator();
  const signals = trainSignals();
  const train = async (plan: Partial<GenerationPlan> = {}) => {
    const outcome = await session.train(planOf(plan), inMemoryRing(1)[0]!, coordinator, signals);
    for (const { step, files } of coordinator.parts.splice(0)) await session.writeManifest(step, files);
    return outcome;
  };
  return { session, coordinator, signals, train, [Symbol.asyncDispose]: () => session.close() };
}

test('a fresh state follows from the seed', async () => {
  await using directory = await temporaryDirectory();
  await using first = await openSession(directory.path);
  await using again = await openSession(directory.path);
  await using other = await openSession(directory.path, { seed: 7 });
  for (const session of [first, again, other]) await session.train();
  expect(again.coordinator.losses).toEqual(first.coordinator.losses);
  expect(other.coordinator.losses[0]).not.toBe(first.coordinator.losses[0]);
});

test('a generation goes on from memory, or from a checkpoint, as if nothing had happened', async () => {
  await using directory = await temporaryDirectory();
  await using whole = await openSession(directory.path);
  expect(await whole.train()).toEqual({ outcome: 'finished', step: 4 });
  const expected = whole.coordinator.losses;

  await using run = await temporaryDirectory();
  await using session = await openSession(run.path);
  session.signals.stopAfter(2);
  expect(await session.train()).toEqual({ outcome: 'stopped', step: 2 });
  session.signals.stopAfter(4);
  await session.train({ generation: 2, firstStep: 3, state: { kind: 'keep' } });
  expect(session.coordinator.losses).toEqual(expected);

  await using resumed = await openSession(run.path);
  const state = { kind: 'checkpoint', directory: checkpointDirectory(run.path, 2) } as const;
  await resumed.train({ generation: 3, firstStep: 3, state });
  expect(resumed.coordinator.losses).toEqual(expected.slice(2));
});

test('a task that is not a language model is learned', async () => {
  await using directory = await temporaryDirectory();
  const optimizer = { learningRate: 0.3, warmupSteps: 5, weightDecay: 0 };
  await using session = await openSession(directory.path, { steps: 60, optimizer });
  await session.train();
  const { losses } = session.coordinator;
  expect(losses[0]).toBeGreaterThan(1);
  expect(losses.at(-1)).toBeLessThan(1e-2);
});

test('a state that is not in memory cannot be kept', async () => {
  await using directory = await temporaryDirectory();
  await using session = await openSession(directory.path);
  const keep = { firstStep: 3, state: { kind: 'keep' } } as const;
  await expect(session.train(keep)).rejects.toThrow('this worker holds nothing');
  session.signals.stopAfter(1);
  await session.train();
  await expect(session.train(keep)).rejects.toThrow('this worker holds the state after step 1');
});

test('a checkpoint of other data is refused before it is loaded', async () => {
  await using directory = await temporaryDirectory();
  await using session = await openSession(directory.path);
  await session.train();
  await using other = await openSession(directory.path, {}, { identity: 'other data' });
  const state = { kind: 'checkpoint', directory: checkpointDirectory(directory.path, 4) } as const;
  await expect(other.train({ firstStep: 5, state })).rejects.toMatchObject({ code: 'failed_precondition' });
});

test('a checkpoint of another model is refused, and the difference named', async () => {
  await using directory = await temporaryDirectory();
  await using session = await openSession(directory.path);
  await session.train();
  const state = { kind: 'checkpoint', directory: checkpointDirectory(directory.path, 4) } as const;
  const open = (change: (task: TrainTask) => TrainTask) => openSession(directory.path, {}, {}, change);
  await using smaller = await open((task) => ({ ...task, parameters: task.parameters.slice(0, 1) }));
  const unknown = 'it holds bias, which the model does not have';
  await expect(smaller.train({ firstStep: 5, state })).rejects.toThrow(unknown);
  const renamed = (parameter: TaskParameter) => {
    const stored = parameter.stored.map((part) => ({ ...part, name: `other/${part.name}` }));
    return { ...parameter, name: `other/${parameter.name}`, stored };
  };
  await using larger = await open((task) => ({
    ...task,
    parameters: [...task.parameters, renamed(task.parameters[0]!)],
  }));
  await expect(larger.train({ firstStep: 5, state })).rejects.toThrow('it lacks other/weights');
});

test('a run may begin with the weights of another one, and takes its first step from there', async () => {
  await using directory = await temporaryDirectory();
  await using first = await openSession(directory.path);
  await first.train();
  await using run = await temporaryDirectory();
  const initFrom = checkpointDirectory(directory.path, 4);
  await using second = await openSession(run.path, { initFrom, steps: 1 });
  await second.train();
  await using seeded = await openSession(run.path, { steps: 1 });
  await seeded.train();
  expect(second.coordinator.losses[0]).toBeLessThan(seeded.coordinator.losses[0]!);
});

test('whatever fails in a generation that was released is its release', async () => {
  await using directory = await temporaryDirectory();
  await using session = await openSession(directory.path);
  session.coordinator.decide = () => {
    session.signals.release();
    throw new Error('the stream is closed');
  };
  await expect(session.train()).rejects.toMatchObject({ code: 'cancelled' });
});

test('the held-out loss is that of the model after the step, and does not change the training', async () => {
  await using directory = await temporaryDirectory();
  await using plain = await openSession(directory.path);
  await plain.train();
  await using run = await temporaryDirectory();
  const passes: string[] = [];
  const onForward = ({ isTraining }: ForwardPass) => passes.push(isTraining ? 'train' : 'evaluate');
  const evaluation = { everySteps: 2, sequencesPerSource: 3 };
  await using evaluated = await openSession(run.path, { evaluation }, { onForward });
  await evaluated.train();
  // Two microbatches a step; two of each of two sources in an evaluation.
  const twoSteps = [...Array(4).fill('train'), ...Array(4).fill('evaluate')];
  expect(passes).toEqual([...twoSteps, ...twoSteps]);
  expect(evaluated.coordinator.losses).toEqual(plain.coordinator.losses);
  const [, second, , last] = evaluated.coordinator.reports.map(({ heldOut }) => heldOut);
  expect(last!.loss).toBeLessThan(second!.loss);
  expect(last!.sources.interleaved).toBeNull();
  expect(last!.loss).toBeCloseTo((2 * last!.sources.captioned! + last!.sources.text!) / 3, 6);
});
