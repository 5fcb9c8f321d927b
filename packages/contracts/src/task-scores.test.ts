import { expect, it } from 'vitest';
import { averageScores, type TaskScore, taskScoresFromProto, taskScoresToProto } from './task-scores.js';

const score = (task: string, kind: TaskScore['kind'], shots: number, value: number): TaskScore => ({
  ...{ task, kind, shots, score: value, examples: 10, second: null, shortened: 0 },
});
const scores = [
  score('coco', 'caption', 0, 70),
  score('coco', 'caption', 8, 110),
  score('vqa', 'question', 8, 60),
  { ...score('arc', 'multipleChoice', 0, 40), second: { name: 'accuracyPerByte', value: 45 } as const, shortened: 3 },
  { ...score('lambada', 'lastWord', 0, 50), second: { name: 'perplexity', value: 9 } as const },
];

it('means are taken over tasks with images and over those without, for each number of shots', () => {
  expect(averageScores(scores)).toEqual({ average: { 0: 70, 8: 85 }, textAverage: { 0: 45 } });
  expect(averageScores([])).toEqual({ average: {}, textAverage: {} });
});

it('scores come out of their message as they went in', () => {
  expect(taskScoresFromProto(taskScoresToProto({ scores, seconds: 2.5 }))).toEqual({ scores, seconds: 2.5 });
});
