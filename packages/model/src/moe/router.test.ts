import { tf } from '@weft/tensor';
import { describe, expect, it } from 'vitest';
import { pack } from '../../test-support/pack.js';
import { distance, lookup, numbers, randomParameters } from '../../test-support/tensors.js';
import { tinyMoeModel, withMoe } from '../../test-support/tiny-model.js';
import { lossParts } from '../loss.js';
import { modelParameters } from '../model-parameters.js';
import { jitterNoise, tokenKeys, withoutJitter } from './router.js';

const ids = Array.from({ length: 400 }, (_, i) => (i * i * 31 + 7) % 300_000);
const keys = tokenKeys(tf.tensor2d([ids], undefined, 'int32'));

describe('the noise of a router', () => {
  const noise = numbers(jitterNoise(1, keys, 16, 0.1));

  it('lies evenly around 1', () => {
    expect(Math.min(...noise)).toBeGreaterThan(0.9 - 1e-6);
    expect(Math.max(...noise)).toBeLessThan(1.1 + 1e-6);
    const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
    const variance = noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / noise.length;
    expect(mean).toBeCloseTo(1, 2);
    expect(variance).toBeCloseTo(0.2 ** 2 / 12, 3);
  });

  it('is another one for every token, channel and layer, and the same again', () => {
    const rows = Array.from({ length: ids.length }, (_, row) => noise.slice(16 * row, 16 * row + 16).join());
    expect(new Set(rows).size).toBeGreaterThan(390);
    expect(new Set(noise.slice(0, 16)).size).toBe(16);
    expect(numbers(jitterNoise(3, keys, 16, 0.1))).not.toEqual(noise);
    expect(numbers(jitterNoise(1, keys, 16, 0.1))).toEqual(noise);
  });

  it('does not depend on the other sequences of a microbatch', () => {
    const [first, second] = [ids.slice(0, 200), ids.slice(200)];
    const alone = [first, second].flatMap((row) => numbers(tokenKeys(tf.tensor2d([row], undefined, 'int32'))));
    expect(numbers(tokenKeys(tf.tensor2d([first, second], undefined, 'int32')))).toEqual(alone);
  });

  it('changes where tokens go in training and nothing in an evaluation', () => {
    const noisy = withMoe(tinyMoeModel, { jitter: 0.5 });
    const batch = pack(noisy, [[[1, 2, 3, 4, 5, 6, 0, 1, 2, 3]]]);
    const parameters = lookup(randomParameters(modelParameters(noisy)));
    const loss = (model: typeof noisy) => numbers(lossParts(model, parameters, batch).objective);
    expect(distance(loss(noisy), loss(tinyMoeModel))).toBeGreaterThan(1e-4);
    expect(loss(withoutJitter(noisy))).toEqual(loss(tinyMoeModel));
  });
});
