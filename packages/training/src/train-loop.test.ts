import { inMemoryRing } from '@weft/collectives';
import { deferred, WeftError } from '@weft/common';
import type { RunConfigInput } from '@weft/config';
import type { TaskScores } from '@weft/contracts';
import { javascriptExecutor } from '@weft/tensor';
import { expect, test } from 'vitest';
import type { GenerationPlan } from './ports.js';
import { initialiseState } from './state.js';
import { FakeCoordinator, planOf, trainSignals } from './testing/fake-coordinator.js';
import { linearConfig, linearTask } from './testing/linear-task.js';
import { trainLoop } from './train-loop.js';
import { trainProgram } from './train-program.js';

interface Changes {
  readonly plan?: Partial<GenerationPlan>;
  readonly everySteps?: number;
  readonly evaluation?: RunConfigInput['evaluation'];
}

/** A loop of four steps on the linear task, with a note of everything that happens outside of the step. */
async function openLoop({ plan, everySteps = 100, evaluation }: Changes = {}) {
  const config = linearConfig({ checkpoint: { everySteps }, ...(evaluation === undefined ? {} : { evaluation }) });
  const task = linearTask({ config });
  const program = trainProgram(task, config);
  const executor = javascriptExecutor(program);
  await initialiseState(executor, program, config.seed);
  const coordinator = new FakeCoordinator();
  const signals = trainSignals();
  const events: string[] = [];
  const heldOut = {
    measure: async (_: number): Promise<number> => 0.5,
    score: async (step: number): Promise<TaskScores> => ({ scores: [], seconds: step }),
  };
  const data = await task.openData();
  const run = () =>
    trainLoop({
      config,
      task,
      program,
      executor,
      loader: data.openLoader(),
      group: inMemoryRing(1)[0]!,
      coordinator,
      plan: planOf(plan),
      signals,
      saver: {
        save: async (step) => void events.push(`save ${step}`),
        settled: async () => void events.push('settled'),
      },
      heldOut: async (step) => {
        events.push(`evaluate ${step}`);
        const loss = await heldOut.measure(step);
        return { loss, sources: { captioned: loss, interleaved: null, text: null }, seconds: 0 };
      },
      scoreTasks: async (step) => {
        events.push(`score ${step}`);
        return heldOut.score(step);
      },
      onStep: ({ applied, report }) => events.push(`${applied ? 'applied' : 'refused'} ${report.step}`),
    });
  return { coordinator, events, heldOut, run, signals };
}

test('trains to the last step, saves every few steps and the last one, and finishes when that is on disk', async () => {
  const loop = await openLoop({ everySteps: 3 });
  expect(await loop.run()).toEqual({ outcome: 'finished', step: 4 });
  expect(loop.events).toEqual(['applied 1', 'applied 2', 'applied 3', 'save 3', 'applied 4', 'save 4', 'settled']);
  expect(loop.coordinator.reports.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
});

test('asked to stop after a step, saves that step and ends', async () => {
  const loop = await openLoop();
  loop.coordinator.decide = ({ step }) => {
    if (step === 2) loop.signals.stopAfter(2);
    return true;
  };
  expect(await loop.run()).toEqual({ outcome: 'stopped', step: 2 });
  expect(loop.events).toEqual(['applied 1', 'applied 2', 'save 2', 'settled']);
});

test('asked for a checkpoint, saves that step and goes on', async () => {
  const loop = await openLoop({ everySteps: 3 });
  loop.coordinator.decide = ({ step }) => {
    if (step === 2) loop.signals.saveAfter(2);
    return true;
  };
  expect(await loop.run()).toEqual({ outcome: 'finished', step: 4 });
  expect(loop.events.filter((event) => event.startsWith('save'))).toEqual(['save 2', 'save 3', 'save 4']);
});

test('a release drops the current step while it is not decided', async () => {
  const loop = await openLoop();
  const released = new WeftError('cancelled', 'released');
  const asked = deferred();
  loop.coordinator.decide = ({ step }) => {
    if (step === 1) return true;
    asked.resolve();
    return new Promise((_, reject) => loop.signals.released.addEventListener('abort', () => reject(released)));
  };
  const outcome = loop.run();
  await asked.promise;
  loop.signals.release();
  await expect(outcome).rejects.toBe(released);
  expect(loop.events).toEqual(['applied 1']);
});

test('a release completes a step that is decided, and begins no other', async () => {
  const loop = await openLoop();
  loop.coordinator.decide = ({ step }) => {
    if (step === 2) loop.signals.release();
    return true;
  };
  await expect(loop.run()).rejects.toMatchObject({ code: 'cancelled' });
  expect(loop.events).toEqual(['applied 1', 'applied 2']);
  expect(loop.coordinator.reports.map(({ step }) => step)).toEqual([1, 2]);
  expect(loop.coordinator.votes).toHaveLength(2);
});

test('a refused step counts', async () => {
  const loop = await openLoop();
  loop.coordinator.decide = ({ step }) => step !== 2;
  expect(await loop.run()).toEqual({ outcome: 'finished', step: 4 });
  expect(loop.events.slice(0, 3)).toEqual(['applied 1', 'refused 2', 'applied 3']);
});

test('only saves where the generation before lost a process after its last step', async () => {
  const kept = await openLoop({ plan: { firstStep: 5, state: { kind: 'keep' } } });
  expect(await kept.run()).toEqual({ outcome: 'finished', step: 4 });
  expect(kept.events).toEqual(['save 4', 'settled']);
  expect(kept.coordinator.votes).toEqual([]);
});

test('rank 0 alone reports, with the held-out loss where it is due and at the end', async () => {
  const evaluation = { everySteps: 3, sequencesPerSource: 1 };
  const loop = await openLoop({ evaluation });
  await loop.run();
  expect(loop.coordinator.reports.map(({ heldOut }) => heldOut?.loss)).toEqual([undefined, undefined, 0.5, 0.5]);
  const other = await openLoop({ evaluation, plan: { rank: 1 } });
  await other.run();
  expect(other.events).toContain('evaluate 3');
  expect(other.coordinator.reports).toEqual([]);
});

test('a ring that breaks in an evaluation costs the held-out loss and not the report', async () => {
  const loop = await openLoop({ evaluation: { everySteps: 2, sequencesPerSource: 1 } });
  const broken = new WeftError('unavailable', 'rank 1 is gone');
  loop.heldOut.measure = () => Promise.reject(broken);
  await expect(loop.run()).rejects.toBe(broken);
  expect(loop.coordinator.reports).toMatchObject([{ step: 1 }, { step: 2, heldOut: undefined }]);
  expect(loop.events).toEqual(['applied 1', 'applied 2', 'evaluate 2']);
});

const words = { words: { kind: 'lastWord', examples: 'words.jsonl' } } as const;

test('tasks are scored after the held-out loss, where they are due and at the end, and are in the report', async () => {
  const evaluation = { everySteps: 3, sequencesPerSource: 1, tasks: words, tasksEverySteps: 3 };
  const loop = await openLoop({ evaluation });
  await loop.run();
  expect(loop.events.slice(2, 5)).toEqual(['applied 3', 'evaluate 3', 'score 3']);
  const seconds = loop.coordinator.reports.map(({ taskScores }) => taskScores?.seconds);
  expect(seconds).toEqual([undefined, undefined, 3, 4]);
  const once = await openLoop({ evaluation: { tasks: words } });
  await once.run();
  expect(once.events.filter((event) => event.startsWith('score'))).toEqual(['score 4']);
});

test('a ring that breaks while tasks are scored costs the scores, and not the report nor the held-out loss', async () => {
  const loop = await openLoop({
    evaluation: { everySteps: 2, sequencesPerSource: 1, tasks: words, tasksEverySteps: 2 },
  });
  loop.heldOut.score = () => Promise.reject(new WeftError('unavailable', 'rank 1 is gone'));
  await expect(loop.run()).rejects.toThrow('rank 1 is gone');
  expect(loop.coordinator.reports.at(-1)).toMatchObject({ step: 2, heldOut: { loss: 0.5 }, taskScores: undefined });
});
