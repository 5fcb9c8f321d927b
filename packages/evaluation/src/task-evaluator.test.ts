import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inMemoryRing } from '@weft/collectives';
import { Random } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { modelParameters } from '@weft/model';
import { elementCount, javascriptExecutor } from '@weft/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EvaluationFolder } from './evaluation-folder.js';
import { TaskEvaluator } from './task-evaluator.js';
import { type DemoLikeData, demoLikeData } from './testing/demo-like-data.js';

let data: DemoLikeData;
beforeAll(async () => {
  data = await demoLikeData();
});
afterAll(() => data[Symbol.asyncDispose]());

const tasks = {
  captions: { kind: 'caption', examples: 'heldOut', maxTokens: 3 },
  choices: { kind: 'multipleChoice', examples: 'heldOut' },
};
const run = (evaluation: object = {}) =>
  data.runWith({ tasks, sequencesPerSource: 4, shots: [1], examplesPerTask: 2, ...evaluation });

/** Parameters that are large enough for each to matter. */
async function* randomParameters({ model }: RunConfig, seed: number) {
  for (const { name, shape } of modelParameters(model)) {
    const random = Random.of(seed, name);
    yield [name, Float32Array.from({ length: elementCount(shape) }, () => random.normal())] as const;
  }
}

async function scored(ranks: number, config = run(), seeds: readonly number[] = [0]) {
  const folder = new EvaluationFolder(data.at(`out-${ranks}`));
  const signal = new AbortController().signal;
  const all = await Promise.all(
    inMemoryRing(ranks).map(async (group) => {
      const evaluator = await TaskEvaluator.open({ config, run: 'run-1', openExecutor: javascriptExecutor, slots: 3 });
      const steps = [];
      for (const [step, seed] of seeds.entries()) {
        const parameters = randomParameters(config, seed);
        steps.push((await evaluator.score({ step, parameters, folder, group, signal, onFailure: () => {} })).scores);
      }
      await evaluator.close();
      await group.close();
      return steps;
    }),
  );
  return { folder, all };
}

describe('a model', () => {
  it('is scored alike by one rank and by two, and leaves the same examples to look at', async () => {
    const alone = await scored(1);
    const two = await scored(2);
    expect(alone.all[0]?.[0]?.map(({ task, shots }) => `${task} ${shots}`)).toEqual(['captions 1', 'choices 1']);
    for (const steps of two.all) expect(steps).toEqual(alone.all[0]);
    const file = 'examples/captions-1-shot.jsonl';
    const examples = await readFile(join(alone.folder.directory, file), 'utf8');
    expect(await readFile(join(two.folder.directory, file), 'utf8')).toBe(examples);
    expect(examples.trimEnd().split('\n')).toHaveLength(2);
  });

  it('is scored by the parameters it has at each step', async () => {
    const config = run({ shots: [0], tasks: { words: { kind: 'lastWord', examples: 'heldOut' } } });
    const [steps] = (await scored(1, config, [0, 1, 0])).all;
    const perplexities = steps?.map(([words]) => words?.second?.value);
    expect(perplexities?.[0]).toBe(perplexities?.[2]);
    expect(perplexities?.[1]).not.toBe(perplexities?.[0]);
  });

  it('is not run when so many shots fit in no prompt, unless they may be left out', async () => {
    const options = {
      config: run({ shots: [0, 1, 7], tasks: { captions: tasks.captions } }),
      run: 'run-1',
      openExecutor: javascriptExecutor,
    };
    await expect(TaskEvaluator.open(options)).rejects.toThrow(
      '7 shots of the task captions fit in no prompt: model.sequenceLength is 128',
    );
    const evaluator = await TaskEvaluator.open({ ...options, tooManyShots: 'omit' });
    expect(evaluator.omitted).toEqual([{ task: 'captions', shots: 7 }]);
    await evaluator.close();
    const long = {
      ...options,
      config: run({ shots: [7], tasks: { captions: tasks.captions } }),
      tooManyShots: 'omit',
    } as const;
    await expect(TaskEvaluator.open(long)).rejects.toThrow('7 shots of the task captions fit in no prompt');
  });
});
