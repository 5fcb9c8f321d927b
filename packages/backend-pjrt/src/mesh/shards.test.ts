import { cut, elementCount, paste } from '@weft/tensor';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkMesh, deviceCount, type Mesh, shardBytes, shardingOf } from './mesh.js';
import { holders, shardBox } from './shards.js';

const logical = fc.constantFrom('batch', 'embed', 'heads', 'mlp', 'vocabulary', 'expert', null);
const size = fc.constantFrom(1, 2, 3, 4);
const meshes: fc.Arbitrary<Mesh> = fc.record({ expert: size, fsdp: size, tensor: size });
/** Arrays with axes of which no two are cut over one axis of the mesh. */
const arrays = fc
  .array(fc.record({ axis: logical, length: fc.constantFrom(1, 2, 5, 6, 12) }), { maxLength: 4 })
  .map((list) => ({
    shape: list.map(({ length }) => length),
    axes: list.map(({ axis }, i) => (clash(list.slice(0, i).map((each) => each.axis)).has(axis) ? null : axis)),
  }));

function clash(earlier: readonly (string | null)[]): ReadonlySet<string | null> {
  const tensor = ['heads', 'mlp', 'vocabulary'];
  return new Set(
    earlier.flatMap((axis) => {
      if (tensor.includes(axis ?? '')) return tensor;
      if (axis === 'batch') return ['batch', 'embed', 'expert'];
      return axis === null ? [] : [axis, 'batch'];
    }),
  );
}

describe('an array on a mesh', () => {
  test('cut and joined again is what it was, and each device holds its share', () => {
    fc.assert(
      fc.property(arrays, meshes, (spec, mesh) => {
        const count = elementCount(spec.shape);
        const array = Float32Array.from({ length: count }, (_, i) => i);
        const sharding = shardingOf(spec, mesh);
        const devices = deviceCount(mesh);
        const boxes = Array.from({ length: devices }, (_, device) => shardBox(spec.shape, sharding, mesh, device));
        const shards = boxes.map((box) => cut(array, spec.shape, box));
        for (const shard of shards) expect(4 * shard.length).toBe(shardBytes({ ...spec, dtype: 'float32' }, mesh));

        const holding = holders(sharding, mesh);
        const joined = new Float32Array(count).fill(-1);
        for (const device of holding) paste(joined, spec.shape, boxes[device]!, shards[device]!);
        expect(joined).toEqual(array);
        // Together they hold every element once.
        expect(holding.reduce((sum, device) => sum + shards[device]!.length, 0)).toBe(count);
      }),
    );
  });

  test('lies where the rules say', () => {
    const mesh = { expert: 2, fsdp: 2, tensor: 2 };
    const stack = { shape: [4, 6, 8], axes: ['expert', 'embed', 'mlp'] as const };
    const over = (spec: Parameters<typeof shardingOf>[0]) => shardingOf(spec, mesh).map((axis) => axis.over);
    expect(over(stack)).toEqual([['expert'], ['fsdp'], ['tensor']]);
    expect(shardBox(stack.shape, shardingOf(stack, mesh), mesh, 6)).toEqual({ begin: [2, 3, 0], size: [2, 3, 4] });
    expect(over({ shape: [8, 3], axes: ['batch', null] })).toEqual([['expert', 'fsdp'], []]);
    // Everything but the experts is cut over their axis too, as far as it divides.
    expect(over({ shape: [8, 4], axes: ['embed', 'mlp'] })).toEqual([['expert', 'fsdp'], ['tensor']]);
    expect(over({ shape: [6, 4], axes: ['embed', 'mlp'] })).toEqual([['fsdp'], ['tensor']]);
    // The mesh does not divide it, or nobody says what it counts.
    expect(over({ shape: [3, 4], axes: ['embed', null] })).toEqual([[], []]);
    expect(over({ shape: [4] })).toEqual([[]]);
  });

  test('is the elements of its box', () => {
    const array = Int32Array.from({ length: 12 }, (_, i) => i);
    expect([...cut(array, [3, 4], { begin: [1, 2], size: [2, 2] })]).toEqual([6, 7, 10, 11]);
    expect(cut(array, [3, 4], { begin: [1, 0], size: [2, 4] }).buffer).toBe(array.buffer);
  });
});

test('a mesh is made of all devices of the worker', () => {
  checkMesh({ expert: 1, fsdp: 2, tensor: 2 }, 4);
  checkMesh({ expert: 1, fsdp: 1, tensor: 1 }, 8);
  expect(() => checkMesh({ expert: 1, fsdp: 2, tensor: 2 }, 8)).toThrow(
    'engine.mesh is fsdp 2 × tensor 2 × expert 1 = 4 devices, but the worker has 8',
  );
});
