import { type RunConfigInput, resolveRunConfig } from '@weft/config';
import { tinyRun } from '@weft/testing';
import { expect, it } from 'vitest';
import { checkRun } from './check-run.js';

const check = (learningRateFactors: Readonly<Record<string, number>>, changes: RunConfigInput = {}) =>
  checkRun(resolveRunConfig({ ...tinyRun, ...changes, optimizer: { ...tinyRun.optimizer, learningRateFactors } }));

it('patterns of learning rates must fit a parameter each', async () => {
  await check({});
  await check({ vision: 0, connector: 2, 'decoder/layers/*/attention': 0.5 });
  await expect(check({ conector: 2 })).rejects.toMatchObject({
    code: 'invalid_argument',
    message: 'optimizer.learningRateFactors has "conector", which no parameter\'s name begins with',
    hint: 'write connector',
  });
  await expect(check({ 'decoder/embeding': 2 })).rejects.toMatchObject({ hint: 'write decoder/embedding' });
});

it('something must be left to train', async () => {
  await expect(check({ '*': 0 })).rejects.toThrow('optimizer.learningRateFactors freezes every parameter');
});

it('experts in other processes cannot be frozen', async () => {
  const decoder = { ...tinyRun.model.decoder, moe: { experts: 2 } };
  const moe = { model: { ...tinyRun.model, decoder } };
  const frozen = { 'decoder/layers/*/experts': 0 };
  await check(frozen, moe);
  await expect(check(frozen, { ...moe, expertWorkers: 1 })).rejects.toThrow(
    'optimizer.learningRateFactors freezes decoder/layers/0/experts/gate, but expertWorkers is 1',
  );
});
