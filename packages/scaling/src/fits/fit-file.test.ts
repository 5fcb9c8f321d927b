import { expect, it } from 'vitest';
import { FORMS } from '../laws/power-law.js';
import { predict } from '../laws/predict.js';
import { readFitFile, writeFitFile } from './fit-file.js';
import { reportOnPoints } from './fit-report.js';

const points = [1e6, 1e7, 1e8, 1e9].map((params, i) => ({ params, value: (1 + 0.1 * (i % 2)) * params ** -0.4 }));
const report = reportOnPoints(points, { name: 'mine', form: FORMS['eta-n'], source: 'four points of a test' });
const provenance = { createdAt: '2026-11-23T09:00:00.000Z', metric: 'loss of the last steps' };
const text = writeFitFile(report, provenance);

it('a law survives its file, down to the last digit of its interval', () => {
  const law = readFitFile(text, 'fit.json');
  expect(law).toEqual(report.law);
  expect(predict(law, { params: 3e10 })).toEqual(predict(report.law, { params: 3e10 }));
});

it('the file keeps points, back-tests, warnings and provenance', () => {
  expect(JSON.parse(text)).toMatchObject({
    formatVersion: 1,
    kind: 'weft-fit',
    points,
    leaveLargestOut: { at: { params: 1e9 } },
    provenance,
  });
});

it.each([
  ['not json', 'fit.json is not JSON'],
  ['{}', 'fit.json is not a fit file'],
  [text.replace('"intercept": ', '"intercept": null, "was": '), 'fit.json: law: intercept is not a number'],
  [text.replace('"learningRate"', '"speed"'), 'fit.json: law: target is not one of learningRate, batchSize'],
  [text.replace(/"exponents": \[[^\]]*\]/, '"exponents": []'), 'fit.json: law: exponents must have 1 entries'],
  [text.replace('"formatVersion": 1', '"formatVersion": 2'), 'fit.json has format 2, this weft reads up to 1'],
])('a broken file is refused by name and field (%#)', (broken, message) => {
  expect(() => readFitFile(broken, 'fit.json')).toThrow(message);
});
