import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { resolveRunConfig } from '@weft/config';
import type { TaskScore } from '@weft/contracts';
import { temporaryDirectory, tinyRun } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import type { Line } from '../styled-lines.js';
import { type EvaluateOptions, evaluationConfig, renderScores } from './evaluate.js';

const textOf = (line: Line) => line.map(({ text }) => text).join('');
const score = (task: string, kind: TaskScore['kind'], shots: number, value: number): TaskScore => ({
  ...{ task, kind, shots, score: value, examples: 5000, second: null, shortened: 0 },
});

it('scores are a table of tasks and numbers of shots, with the means and what must be known', () => {
  const lines = renderScores([
    score('coco', 'caption', 8, 114.62),
    score('coco', 'caption', 0, 73.5),
    { ...score('vqav2', 'question', 8, 63.6), shortened: 12 },
    { ...score('lambada', 'lastWord', 0, 51.25), second: { name: 'perplexity', value: 12.3456 } },
  ]);
  expect(lines.map((line) => textOf(line).trimEnd())).toEqual([
    'task          score            examples  0-shot  8-shot',
    'coco          100 · CIDEr         5,000    73.5   114.6',
    'vqav2         VQA accuracy, %     5,000            63.6',
    'lambada       accuracy, %         5,000    51.3',
    'average                                    73.5    89.1',
    'text average                               51.3',
    'vqav2: 12 of 5,000 examples had fewer than 8 shots, because more did not fit into the sequence',
    'lambada, 0-shot: perplexity 12.35',
  ]);
});

describe('the tasks of weft eval', () => {
  const task = { kind: 'lastWord', examples: '/data/words.jsonl' } as const;
  const heldOut = { sequencesPerSource: 5, tasks: { words: task, others: task }, shots: [0, 2] };
  const trained = resolveRunConfig({ ...tinyRun, evaluation: heldOut });
  const config = (options: Partial<EvaluateOptions>, from = trained, launched: unknown = from) =>
    evaluationConfig(from, launched, { batch: 8, ...options }, '/home/weft');

  it('are those of the run, or some of them, with its shots or others', async () => {
    expect((await config({})).evaluation).toEqual({ ...trained.evaluation, tasksEverySteps: 0 });
    const { tasks, shots, examplesPerTask, shotSeed } = (
      await config({ tasks: ['others'], shots: [4, 8], limit: 7, seed: 3 })
    ).evaluation;
    expect([Object.keys(tasks), shots, examplesPerTask, shotSeed]).toEqual([['others'], [4, 8], 7, 3]);
  });

  it('may come from a file, whose lines are named when they are wrong, and from the demo', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'tasks.yaml');
    await writeFile(path, 'coco:\n  kind: caption\n  examples: .weft/coco.json\n  images: /data/val2014\n');
    const { tasks } = (await config({ tasks: [path, 'demo', 'words'] })).evaluation;
    expect(Object.keys(tasks).slice(0, 3)).toEqual(['words', 'coco', 'demo-captions']);
    expect(tasks.coco).toMatchObject({ examples: '/home/weft/coco.json', prompt: '{IMAGE} A photo of' });
    await writeFile(path, 'coco:\n  kind: caption\n  examples: coco.json\n  image: val2014\n');
    await expect(config({ tasks: [path] })).rejects.toThrow(
      `${path}:4: unknown field "evaluation.tasks.coco.image", did you mean evaluation.tasks.coco.images?`,
    );
  });

  it('are refused where there are none, where a name is no task, and where nothing was held out', async () => {
    const bare = resolveRunConfig({ ...tinyRun });
    await expect(config({}, bare)).rejects.toThrow(
      'the run has no tasks of its own: give --tasks a file of tasks, or demo',
    );
    await expect(config({ tasks: ['coco'] })).rejects.toThrow(
      '--tasks: the run has no task coco, and it is neither demo nor a YAML or JSON file',
    );
    await expect(config({ tasks: ['demo'] }, bare)).rejects.toThrow(
      'evaluation.tasks takes the examples of demo-captions, demo-questions, demo-choices, demo-words from held-out sequences, but evaluation.sequencesPerSource is 0',
    );
    await expect(config({ tasks: ['demo'] }, trained, bare)).rejects.toThrow(
      'evaluation.sequencesPerSource is 5, but the run held out 0: the others it was trained on',
    );
  });
});
