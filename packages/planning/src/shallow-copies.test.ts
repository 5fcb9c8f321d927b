import type { RunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { expect, test } from 'vitest';
import { deviceMemory } from './formulas.js';
import { extendToFullDepth, shallowCopies } from './shallow-copies.js';

const mesh = { fsdp: 8, tensor: 1, expert: 1 };
const config: RunConfig = { ...recipe('mm1-3b'), microbatchSize: 8, activationCheckpointing: 'full' };

test('two copies differ in the decoder alone, and keep the pattern of MoE layers', () => {
  const depths = (name: string) =>
    shallowCopies(recipe(name))?.map(({ model: { vision, decoder } }) => [decoder.depth, vision.depth]);
  expect(depths('mm1-3b')).toEqual([
    [6, 2],
    [16, 2],
  ]);
  expect(depths('mm1-7b-moe-32e')?.map(([depth = 0]) => depth % 4)).toEqual([0, 0]);
  expect(depths('debugTiny')).toBeUndefined();
  const { vision } = config.model;
  const read = { ...config, model: { ...config.model, vision: { ...vision, featureLayer: vision.depth - 1 } } };
  expect(shallowCopies(read)?.map(({ model }) => model.vision.featureLayer)).toEqual([1, 1]);
});

test('two copies that XLA compiled for H100s give what it takes at full depth, within 5 %', () => {
  const [first, second] = shallowCopies(config) ?? [];
  if (first === undefined || second === undefined) throw new Error('mm1-3b is deep');
  // GiB: `docs/design/accelerators.md`.
  const [shallow, deeper, full] = [2.65, 3.1, 5.19].map((gib) => gib * 2 ** 30) as [number, number, number];
  const extended = extendToFullDepth(config, mesh, [
    { config: first, temporaries: shallow },
    { config: second, temporaries: deeper },
  ]);
  expect(Math.abs(extended / full - 1)).toBeLessThan(0.05);
});

test('what grows with the layers is extended, what does not is not', () => {
  const copies = shallowCopies(config);
  if (copies === undefined) throw new Error('mm1-3b is deep');
  const compiled = (each: RunConfig) => deviceMemory(each, mesh).activations + 1e8 + 1e6 * each.model.decoder.depth;
  const [first, second] = copies.map((each) => ({ config: each, temporaries: compiled(each) }));
  if (first === undefined || second === undefined) throw new Error('there are two');
  expect(extendToFullDepth(config, mesh, [first, second]) / compiled(config)).toBeCloseTo(1, 9);
});
