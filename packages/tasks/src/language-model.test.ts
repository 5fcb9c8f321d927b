import { type RunConfigInput, resolveRunConfig } from '@weft/config';
import { tinyRun } from '@weft/testing';
import { expect, test } from 'vitest';
import { taskOf } from './index.js';

const moe = { experts: 3, everyLayers: 2 };

function task(changes: RunConfigInput = {}) {
  const decoder = { ...tinyRun.model.decoder, depth: 2, moe };
  return taskOf(resolveRunConfig({ ...tinyRun, model: { ...tinyRun.model, decoder }, ...changes }));
}

test('every expert of a stack lies in checkpoints by itself, and may begin as a copy of a dense feed-forward', () => {
  const { parameters, isRemote } = task();
  const gate = parameters.find(({ name }) => name === 'decoder/layers/1/experts/gate')!;
  expect(gate.stored.map(({ initialSources }) => initialSources)).toEqual(
    [0, 1, 2].map((expert) => [`decoder/layers/1/experts/${expert}/gate`, 'decoder/layers/1/feedForward/gate']),
  );
  expect(gate.stored.map(({ offset }) => offset)).toEqual([0, 64, 128]);
  expect(gate.initialValue(1)).toHaveLength(3 * 64);
  const seeded = parameters.filter(({ stored }) => stored.some(({ maySeed }) => maySeed));
  expect(seeded.map(({ name }) => name)).toEqual(['decoder/layers/1/moe/router']);
  expect(isRemote('decoder/layers/1/experts/0/gate')).toBe(false);
});

test('with expert workers a rank holds no experts, and its passes wait for theirs', () => {
  const { parameters, isRemote, remoteExperts, batch } = task({ expertWorkers: 1 });
  expect(parameters.filter(({ name }) => name.includes('experts'))).toEqual([]);
  expect(remoteExperts?.layers).toEqual([1]);
  expect(Object.keys(remoteExperts?.trainInputs ?? {})).toEqual(['moe/1/outputs', 'moe/1/rowGradients']);
  expect(Object.keys(remoteExperts?.evaluateInputs ?? {})).toEqual(['moe/1/outputs']);
  expect(Object.keys(batch).some((name) => name.startsWith('moe'))).toBe(false);
  expect(isRemote('adam/m/decoder/layers/1/experts/0/gate')).toBe(true);
  expect(isRemote('decoder/layers/1/moe/router')).toBe(false);
});
