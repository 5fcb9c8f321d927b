import { RunProgress } from '@weft/client';
import { parseMetricsRow } from '@weft/contracts';
import { exampleMoeLayer, exampleRun, exampleStep } from '@weft/testing';
import { expect, it } from 'vitest';
import type { Line } from '../styled-lines.js';
import { renderStatus } from './status.js';

const textOf = (line: Line) => line.map(({ text }) => text).join('');
const experts = {
  layers: [exampleMoeLayer(), exampleMoeLayer({ layer: 3, imbalance: 1.25 })],
  bytesSent: 2048,
  bytesReceived: 1024,
};

function statusOf(moe: object): readonly string[] {
  const progress = new RunProgress(exampleRun());
  progress.addStep(parseMetricsRow(JSON.stringify({ ...exampleStep(1), moe }))!);
  return renderStatus(progress.view(0), 0, 'weft').map((line) => textOf(line).trim());
}

it('status shows the load of the experts of every layer, and the exchange with expert workers', () => {
  const lines = statusOf({ ...experts, waitingSeconds: 0.25 });
  const first = lines.findIndex((line) => line.startsWith('experts'));
  expect(lines.slice(first, first + 3)).toEqual([
    'experts      layer 1: busiest 1.50 × the mean, 12 % dropped, load balance 1.25, router entropy 0.50, z 2.00',
    'layer 3: busiest 1.25 × the mean, 12 % dropped, load balance 1.25, router entropy 0.50, z 2.00',
    'exchange     2 KiB sent, 1 KiB received in the last step, 250ms spent waiting',
  ]);
});

it('status says nothing about an exchange where experts are local, nor about experts of a dense model', () => {
  expect(statusOf({ ...experts, bytesSent: 0 }).filter((line) => line.startsWith('exchange'))).toEqual([]);
  const dense = renderStatus(new RunProgress(exampleRun()).view(0), 0, 'weft').map(textOf);
  expect(dense.filter((line) => line.includes('experts'))).toEqual([]);
});

it('status shows the last scores of every task, and their means', () => {
  const progress = new RunProgress(exampleRun());
  const taskScores = {
    ...{ scores: { coco: { 0: 70.25, 8: 110 }, arc: { 0: 40 } }, average: { 0: 70.25, 8: 110 } },
    ...{ textAverage: { 0: 40 }, seconds: 3 },
  };
  progress.addStep(exampleStep(4, { taskScores }));
  progress.addStep(exampleStep(5));
  const lines = renderStatus(progress.view(0), 0, 'weft').map((line) => textOf(line).trim());
  const first = lines.findIndex((line) => line.startsWith('scores'));
  expect(lines.slice(first, first + 4)).toEqual([
    'scores       coco 0-shot 70.3, 8-shot 110.0, after step 4',
    'arc 0-shot 40.0',
    'average 0-shot 70.3, 8-shot 110.0',
    'text average 0-shot 40.0',
  ]);
});
