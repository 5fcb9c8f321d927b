import { expect, it } from 'vitest';
import {
  formsOf,
  type Product,
  type ProductForm,
  productFlops,
  productName,
  productsOf,
  recordProducts,
  withProductForms,
} from './product-forms.js';

const plain: Product = {
  dtype: 'float32',
  left: [6, 4],
  right: [4, 5],
  isLeftTransposed: false,
  isRightTransposed: false,
};
const ofWeights: Product = { ...plain, left: [6, 4], right: [6, 5], isLeftTransposed: true };
const batched: Product = { ...plain, left: [2, 3, 4], right: [4, 5] };
const ofHeads: Product = { ...plain, left: [2, 3, 4], right: [2, 5, 4], isRightTransposed: true };

const opsOf = (product: Product, form: ProductForm) => {
  const recording = recordProducts(product, 'only', 1);
  const { ops, values, outputs } = withProductForms(recording, new Map([[productName(product), form]]));
  const result = values.get(outputs.product0 ?? -1);
  return {
    types: ops.map(({ type }) => type).filter((type) => type !== 'Const' && type !== 'Placeholder'),
    shape: result?.shape,
    flags: ops
      .filter(({ type }) => type.includes('MatMul'))
      .map(({ attrs }) => Object.values(attrs).map((a) => a.value)),
  };
};

it('a matrix may be multiplied by MatMul, and what is transposed may be transposed before', () => {
  expect(formsOf(plain)).toEqual(['batch', 'matrix']);
  expect(formsOf(ofWeights)).toEqual(['batch', 'matrix', 'transposed']);
  expect(formsOf(batched)).toEqual(['batch', 'matrix']);
  expect(formsOf({ ...batched, left: [2, 4, 3], isLeftTransposed: true })).toEqual(['batch']);
  expect(formsOf(ofHeads)).toEqual(['batch']);
});

it('products of one shape and type have one name', () => {
  expect(productName(plain)).toBe('float32 6x4 4x5');
  expect(productName({ ...ofHeads, dtype: 'bfloat16' })).toBe('bfloat16 2x3x4 (2x5x4)T');
  expect([...productsOf(recordProducts(ofWeights, 'only', 3))]).toEqual([['float32 (6x4)T 6x5', ofWeights]]);
});

it('counts what is multiplied and added', () => {
  expect(productFlops(plain)).toBe(2 * 6 * 4 * 5);
  expect(productFlops(ofWeights)).toBe(2 * 4 * 6 * 5);
  expect(productFlops(batched)).toBe(2 * 2 * 3 * 4 * 5);
  expect(productFlops({ ...batched, left: [3, 4], right: [7, 4, 5] })).toBe(2 * 7 * 3 * 4 * 5);
});

it('the usual form leaves a product as it was recorded, and so does no choice', () => {
  const recording = recordProducts(ofWeights, 'only', 1);
  expect(withProductForms(recording, new Map()).ops).toEqual(recording.ops);
  expect(opsOf(ofWeights, 'batch').types).toEqual(['BatchMatMulV2']);
});

it('writes each of the other forms', () => {
  expect(opsOf(ofWeights, 'matrix')).toEqual({ types: ['MatMul'], shape: [4, 5], flags: [['float32', true, false]] });
  expect(opsOf(ofWeights, 'transposed')).toEqual({
    types: ['Transpose', 'Reshape', 'Reshape', 'BatchMatMulV2', 'Reshape'],
    shape: [4, 5],
    flags: [['float32']],
  });
});

it('folds the batch of a left operand into its rows', () => {
  const transposed = { ...batched, right: [5, 4], isRightTransposed: true };
  expect(opsOf(transposed, 'transposed').shape).toEqual([2, 3, 5]);
  const { types, shape } = opsOf(batched, 'matrix');
  expect(types).toEqual(['Reshape', 'MatMul', 'Reshape']);
  expect(shape).toEqual([2, 3, 5]);
});
