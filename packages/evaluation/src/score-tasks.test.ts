import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inMemoryRing } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { type EvaluationTask, resolveRunConfig } from '@weft/config';
import type { TaskScores } from '@weft/contracts';
import type { Generator, Prompt, PromptSource } from '@weft/generation';
import { tinyRun } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EvaluationFolder } from './evaluation-folder.js';
import { type ExampleResult, type ScoreOptions, scoreTasks } from './score-tasks.js';
import { Cider } from './scores/cider.js';
import type { Example } from './tasks/example.js';
import type { OpenTask } from './tasks/open-tasks.js';

const shownText = (prompt: Prompt) =>
  prompt.map((part) => (part.kind === 'text' ? part.text : part.kind === 'end' ? '' : `<${part.name}>`)).join('');

/** A model that answers by a function of the prompt, and likes texts by a function of prompt and text. */
function scriptedGenerator(
  answer: (prompt: string) => string,
  likes: (prompt: string, text: string) => number,
): ScoreOptions['generator'] {
  const tokenizer = { ...({} as Generator['tokenizer']), encode: (text: string) => new Int32Array(text.length) };
  return {
    tokenizer,
    async *generate(prompts: Iterable<PromptSource> | AsyncIterable<PromptSource>) {
      let index = 0;
      for await (const source of prompts) {
        const text = answer(shownText(typeof source === 'function' ? await source() : source));
        // In two pieces, as texts come from a model.
        yield { index, text: text.slice(0, 2), tokenIds: [], done: false, reason: null };
        yield { index: index++, text: text.slice(2), tokenIds: [], done: true, reason: 'stop' as const };
      }
    },
    logLikelihoods: async (queries) =>
      queries.map(({ prompt, continuation }) => {
        const sum = likes(shownText(prompt), continuation);
        return { sum, tokens: continuation.length, isGreedy: sum > -1 };
      }),
  };
}

const image = (name: string) => ({ name, read: async () => Buffer.from(name) });
const open = (name: string, written: object, examples: readonly Example[]): OpenTask => {
  const config = resolveRunConfig({ ...tinyRun, evaluation: { tasks: { [name]: { examples: 'x', ...written } } } });
  return { name, task: config.evaluation.tasks[name] as EvaluationTask, examples, pool: examples };
};

const NAMES = ['red fox', 'blue bird', 'tall tree', 'small dog', 'old car', 'wet cat', 'big ship'];
const captions = open(
  'captions',
  { kind: 'caption', images: 'x' },
  NAMES.map((name, i) => ({
    kind: 'caption',
    id: `${i}`,
    where: `c[${i}]`,
    image: image(name),
    references: [`a ${name}`, `one ${name} here`],
  })),
);
const questions = open(
  'questions',
  { kind: 'question', images: 'x' },
  NAMES.map((name, i) => ({
    kind: 'question',
    id: `${i}`,
    where: `q[${i}]`,
    image: image(name),
    question: 'Which?',
    answers: [name, name, 'other', `the ${name}`],
  })),
);
const choices = open(
  'choices',
  { kind: 'multipleChoice' },
  NAMES.map((name, i) => ({
    kind: 'multipleChoice',
    id: `${i}`,
    where: `m:${i}`,
    context: `A ${name} is`,
    choices: [' something quite long', ` ${i}`],
    right: i % 2,
  })),
);
const words = open(
  'words',
  { kind: 'lastWord' },
  NAMES.map((name, i) => ({
    kind: 'lastWord',
    id: `${i}`,
    where: `w:${i}`,
    context: `It is a ${name.split(' ')[0]}`,
    word: ` ${name.split(' ')[1]}`,
  })),
);
const all = [captions, questions, choices, words];

const config = resolveRunConfig({
  ...tinyRun,
  model: { ...tinyRun.model, sequenceLength: 200 },
  evaluation: { shots: [0, 2] },
});
/** Answers with the name of the last image, but for one; likes long texts the less, and names the more. */
const generator = scriptedGenerator(
  (prompt) => (/<([^>]*)>[^<]*$/.exec(prompt)?.[1] ?? 'nothing').replace('tall tree', 'nothing'),
  (_, text) => (NAMES.some((name) => text === ` ${name.split(' ')[1]}`) ? -0.5 : -text.length),
);

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-scores-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const onFailure = (error: WeftError) => {
  throw error;
};

async function score(worldSize: number, changes: Partial<ScoreOptions> = {}): Promise<readonly TaskScores[]> {
  const ring = inMemoryRing(worldSize);
  const signal = new AbortController().signal;
  const scores = await Promise.all(
    ring.map((group) => scoreTasks({ tasks: all, config, generator, group, signal, onFailure, ...changes })),
  );
  for (const group of ring) await group.close();
  return scores;
}

describe('scores', () => {
  it('are CIDEr, VQA accuracy, and accuracy by likelihood, for each number of shots', async () => {
    const [{ scores }] = (await score(1)) as [TaskScores];
    expect(scores.map(({ task, shots }) => `${task} ${shots}`)).toEqual(
      all.flatMap(({ name }) => [`${name} 0`, `${name} 2`]),
    );
    const cider = new Cider(NAMES.map((name) => [`a ${name}`, `one ${name} here`]));
    const outputs = NAMES.map((name) => (name === 'tall tree' ? 'nothing' : name));
    const mean = outputs.reduce((sum, output, i) => sum + Math.fround(100 * cider.score(i, output)), 0) / 7;
    expect(scores[0]).toEqual({
      task: 'captions',
      kind: 'caption',
      shots: 0,
      score: mean,
      examples: 7,
      second: null,
      shortened: 0,
    });
    // Three of four annotators agree, but one of them is left out three times of four: (3 · 2/3 + 1) / 4.
    expect(scores[2]?.score).toBeCloseTo((100 * 6 * (3 * (2 / 3) + 1)) / 4 / 7, 4);
    // The short choice is always likelier, and right for odd examples; by bytes both are equal, and the first one counts.
    expect(scores[4]).toMatchObject({
      score: expect.closeTo(300 / 7, 4),
      second: { name: 'accuracyPerByte', value: expect.closeTo(400 / 7, 4) },
    });
    expect(scores[6]).toMatchObject({
      score: 100,
      second: { name: 'perplexity', value: expect.closeTo(Math.exp(0.5), 6) },
    });
  });

  it.each([2, 3, 5, 9])('do not depend on the number of ranks, to the last bit: %i', async (ranks) => {
    const [{ scores: alone }] = (await score(1)) as [TaskScores];
    for (const { scores } of await score(ranks)) expect(scores).toEqual(alone);
  });

  it('are of what the model was asked, which can be looked at', async () => {
    const seen = new Map<string, readonly ExampleResult[]>();
    await score(1, { onResults: async (task, shots, results) => void seen.set(`${task} ${shots}`, results) });
    expect(seen.get('captions 0')?.[0]).toEqual({
      id: '0',
      prompt: '<image> A photo of',
      output: 'red fox',
      expected: ['a red fox', 'one red fox here'],
      score: expect.any(Number),
      shots: 0,
    });
    const [question] = seen.get('questions 2') ?? [];
    expect(question?.prompt).toMatch(
      /^(<image> Question: Which\? Short answer: (?!red fox)\w+ \w+\n){2}<image> Question: Which\? Short answer:$/,
    );
    expect(question).toMatchObject({ output: 'red fox', score: expect.closeTo(75, 9), shots: 2 });
    expect(seen.get('choices 0')?.[1]).toEqual({
      id: '1',
      prompt: 'A blue bird is',
      output: '1',
      expected: ['1'],
      logLikelihoods: [-21, -2],
      score: 100,
      shots: 0,
    });
    expect(seen.get('words 0')?.[0]).toMatchObject({
      prompt: 'It is a red',
      output: 'fox',
      expected: ['fox'],
      logLikelihoods: [-0.5],
      score: 100,
    });
  });

  it('count the examples whose shots did not all fit', async () => {
    const longer = open(
      'questions',
      { kind: 'question', images: 'x', maxTokens: 5 },
      questions.examples.map((each, i) => ({ ...each, question: 'w'.repeat(i === 0 ? 60 : 20) }) as Example),
    );
    const [{ scores }] = (await score(1, { tasks: [longer] })) as [TaskScores];
    expect(scores.map(({ shortened }) => shortened)).toEqual([0, expect.any(Number)]);
    expect(scores[1]?.shortened).toBeGreaterThan(0);
    expect(scores[1]?.shortened).toBeLessThan(7);
  });

  it('end between examples when they are aborted, and name the example that cannot be read', async () => {
    const aborted = new AbortController();
    aborted.abort();
    await expect(score(1, { tasks: [words], signal: aborted.signal })).rejects.toMatchObject({ code: 'cancelled' });
    const failing: ScoreOptions['generator'] = {
      ...generator,
      async *generate() {
        yield {
          index: 3,
          text: '',
          tokenIds: [],
          done: true,
          reason: 'failed',
          error: new WeftError('corrupt_data', 'the image x cannot be decoded'),
        };
      },
    };
    await expect(score(1, { tasks: [captions], generator: failing })).rejects.toThrow(
      'c[3]: the image x cannot be decoded',
    );
  });
});

it('an example that cannot be read leaves the task without a score, on every rank, where that ends no evaluation', async () => {
  const failing: ScoreOptions['generator'] = {
    ...generator,
    async *generate(prompts, options) {
      for await (const event of generator.generate(prompts, options)) {
        if (event.index > 0 || !event.done) yield event;
        else
          yield { ...event, reason: 'failed', error: new WeftError('corrupt_data', 'the image x cannot be decoded') };
      }
    },
  };
  const failures: string[] = [];
  const results = new Map<string, readonly ExampleResult[]>();
  const scores = await score(3, {
    ...{ tasks: [questions, words], generator: failing },
    onFailure: (error) => failures.push(error.message),
    onResults: async (task, shots, each) => void results.set(`${task} ${shots}`, each),
  });
  expect(failures).toContain('q[0]: the image x cannot be decoded');
  for (const {
    scores: [first, , third],
  } of scores)
    expect([first?.score, third?.score]).toEqual([Number.NaN, 100]);
  expect(results.get('questions 0')?.[0]).toMatchObject({
    error: expect.stringMatching(/^q\[\d\]: the image x/),
    score: Number.NaN,
  });
});

describe('the folder of an evaluation', () => {
  it('has the examples of all ranks in one file, the scores, and their picture', async () => {
    const folder = EvaluationFolder.ofRun(directory, 40);
    expect(folder.directory).toBe(join(directory, 'evaluations/step-00000040'));
    const ring = inMemoryRing(3);
    const signal = new AbortController().signal;
    const [scores] = await Promise.all(
      ring.map((group) =>
        scoreTasks({
          ...{ tasks: [captions, words], config, generator, group, signal, onFailure },
          onResults: (task, shots, results) => folder.writeExamples(task, shots, results, group),
          onScored: async ({ task, shots }) => void (group.rank === 0 && (await folder.joinExamples(task, shots, 3))),
        }),
      ),
    );
    for (const group of ring) await group.close();
    const record = await folder.writeResults('run-1', 40, scores!);
    expect((await readdir(join(folder.directory, 'examples'))).toSorted()).toEqual([
      'captions-0-shot.jsonl',
      'captions-2-shot.jsonl',
      'words-0-shot.jsonl',
      'words-2-shot.jsonl',
    ]);
    const lines = (await readFile(join(folder.directory, 'examples/captions-2-shot.jsonl'), 'utf8'))
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line).id)).toEqual(['0', '1', '2', '3', '4', '5', '6']);
    expect(record.average).toEqual({ 0: scores!.scores[0]!.score, 2: scores!.scores[1]!.score });
    expect(JSON.parse(await readFile(join(folder.directory, 'results.json'), 'utf8'))).toEqual(record);
    expect(await readFile(join(folder.directory, 'results.svg'), 'utf8')).toMatch(/^<svg [\s\S]*run-1, step 40/);
  });

  it('keeps the scores of other tasks and shots that were taken before', async () => {
    const folder = new EvaluationFolder(join(directory, 'twice'));
    const one = (task: string, shots: number, value: number) =>
      ({ task, kind: 'caption', shots, score: value, examples: 2, second: null, shortened: 0 }) as const;
    await folder.writeResults('run-1', 8, { scores: [one('a', 0, 1), one('a', 8, 2)], seconds: 1 });
    const { scores, average } = await folder.writeResults('run-1', 8, {
      scores: [one('a', 8, 3), one('b', 8, 5)],
      seconds: 1,
    });
    expect(scores.map(({ task, shots, score }) => [task, shots, score])).toEqual([
      ['a', 0, 1],
      ['a', 8, 3],
      ['b', 8, 5],
    ]);
    expect(average).toEqual({ 0: 1, 8: 4 });
  });
});
