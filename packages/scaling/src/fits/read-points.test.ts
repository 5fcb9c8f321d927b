import { expect, it } from 'vitest';
import { FORMS } from '../laws/power-law.js';
import { readPoints } from './read-points.js';

const form = FORMS['eta-n'];
const read = (text: string) => readPoints(text, 'points.csv', form);

it('reads points, past comments, blank lines, and columns for people', () => {
  const text =
    '\uFEFF# measured in spring\nscale,params,learning_rate,weight\n\nsmall, 9e6, 6.7e-4,\nlarge,1200000000,8.6e-5,2\r\n';
  expect(read(text)).toEqual([
    { params: 9e6, value: 6.7e-4 },
    { params: 1.2e9, value: 8.6e-5, weight: 2 },
  ]);
});

it('reads a grid, where an empty loss is a run that diverged', () => {
  expect(read('params,learning_rate,loss,seed\n1e6,1e-3,2.5,17\n1e6,1e-2,,17\n')).toEqual([
    { params: 1e6, value: 1e-3, score: 2.5 },
    { params: 1e6, value: 1e-2, score: null },
  ]);
});

it('reads the columns that the form needs', () => {
  const text = 'tokens,batch_size\n1e9,80000\n';
  expect(readPoints(text, 'b.csv', FORMS['batch-d'])).toEqual([{ tokens: 1e9, value: 80_000 }]);
  expect(() => read(text)).toThrow('b.csv'.replace('b', 'points'));
  expect(() => readPoints('params,learning_rate\n', 'p.csv', FORMS['eta-nd'])).toThrow(
    'p.csv:1: the column tokens is missing',
  );
});

it.each([
  ['semicolons', 'params;learning_rate\n9e6;6.7e-4\n1.2e9;8.6e-5\n'],
  ['tabs', 'params\tlearning_rate\n9e6\t6.7e-4\n1.2e9\t8.6e-5\n'],
  ['quotation marks', '"params","learning_rate"\n"9e6","6.7e-4"\n1.2e9,8.6e-5\n,\n'],
  ['the line ends of old', 'params,learning_rate\r9e6,6.7e-4\r1.2e9,8.6e-5\r'],
])('reads %s', (_, text) => {
  expect(read(text)).toEqual([
    { params: 9e6, value: 6.7e-4 },
    { params: 1.2e9, value: 8.6e-5 },
  ]);
});

it('reads scores of any name, and passes the others over', () => {
  const text = 'params,learning_rate,loss,eight_shot,Accuracy\n1e6,1e-3,2.5,0.31,\n';
  expect(readPoints(text, 'p.csv', form, 'eight_shot')).toEqual([{ params: 1e6, value: 1e-3, score: 0.31 }]);
  expect(readPoints(text, 'p.csv', form, 'Accuracy')).toEqual([{ params: 1e6, value: 1e-3, score: null }]);
  expect(read(text)).toEqual([{ params: 1e6, value: 1e-3, score: 2.5 }]);
  expect(() => readPoints(text, 'p.csv', form, 'recall')).toThrow('p.csv:1: the column recall is missing');
});

it('refuses more points than any fit has', () => {
  expect(() => read(`params,learning_rate\n${'1e6,1e-3\n'.repeat(300_000)}`)).toThrow(
    'points.csv holds 300000 points, but a fit takes at most 2000',
  );
});

it.each([
  ['params,learning_rate\n', 'points.csv holds no points'],
  ['# nothing\n', 'points.csv holds no points'],
  ['params,params,learning_rate\n1,1,1\n', 'points.csv:1: the column params is there twice'],
  ['params,learning_rate,eight_shot\n1,1,1\n', 'points.csv:1: unknown column "eight_shot"'],
  ['params,learning_rate,loss,wieght\n1,1,1,1\n', 'points.csv:1: unknown column "wieght"'],
  ['params;learning_rate\n9e6;6,7e-4\n', 'points.csv:2: learning_rate is 6,7e-4, but must be a number above 0'],
  ['params,learning_rate\n0x10,1e-3\n', 'points.csv:2: params is 0x10, but must be a number above 0'],
  ['params,learning_rate\n1e999,1e-3\n', 'points.csv:2: params is 1e999, but must be a number above 0'],
  ['\uFFFD\uFFFDp\0a\0', 'points.csv is not a text in UTF-8'],
  ['', 'points.csv holds no points'],
  ['parms,learning_rate\n', 'points.csv:1: unknown column "parms"'],
  ['params,learning_rate\n1e6\n', 'points.csv:2: 1 cells in 2 columns'],
  ['params,learning_rate\n1e6,1e-3\n1e7,fast\n', 'points.csv:3: learning_rate is fast, but must be a number above 0'],
  ['params,learning_rate\n1e6,-1e-3\n', 'points.csv:2: learning_rate is -1e-3, but must be a number above 0'],
  ['params,learning_rate\n0,1e-3\n', 'points.csv:2: params is 0, but must be a number above 0'],
  ['params,learning_rate\nNaN,1e-3\n', 'points.csv:2: params is NaN, but must be a number above 0'],
  ['params,learning_rate\n,1e-3\n', 'points.csv:2: params is empty, but must be a number above 0'],
  ['params,learning_rate,loss\n1e6,1e-3,NaN\n', 'points.csv:2: loss is NaN, but must be a number'],
])('refuses %j in one sentence with file and line', (text, message) => {
  expect(() => read(text)).toThrow(message);
});
