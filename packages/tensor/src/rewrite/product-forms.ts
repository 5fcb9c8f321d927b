// Legend: B batch axes; N, M, K rows, columns and inner width of a product; R = B·N rows.
import type { Attrs, AttrValue } from '../ops.js';
import { elementCount } from '../program.js';
import { inputOf, outputOf, type RecordedOp, type Recording, type ValueId, type ValueInfo } from '../recording.js';
import { itemAt, required } from '../required.js';
import { isRealType, typeAttr } from './casts.js';
import { type Editor, editOps } from './edit.js';

/** A product of matrices as it is recorded: all products of one shape are alike. */
export interface Product {
  readonly dtype: 'float32' | 'bfloat16';
  /** [B…, N, K], or [B…, K, N] where the left operand is given transposed. */
  readonly left: readonly number[];
  /** [B…, K, M], or [B…, M, K] where the right operand is given transposed. */
  readonly right: readonly number[];
  readonly isLeftTransposed: boolean;
  readonly isRightTransposed: boolean;
}

/**
 * How a backend may compute a product. `batch` is the usual one: `BatchMatMulV2`, which reads transposed operands as they lie.
 * `matrix` is `MatMul`, which does as well, and for which the batch of a left operand is folded into its rows. `transposed`
 * transposes such operands in memory before.
 */
export const PRODUCT_FORMS = ['batch', 'matrix', 'transposed'] as const;
export type ProductForm = (typeof PRODUCT_FORMS)[number];

/** The forms that a product has, the usual one first. Where the right operand has a batch it is the only one. */
export function formsOf({ left, right, isLeftTransposed, isRightTransposed }: Product): readonly ProductForm[] {
  const isFoldable = right.length === 2 && (left.length === 2 || !isLeftTransposed);
  const isPossible: Readonly<Record<ProductForm, boolean>> = {
    batch: true,
    matrix: isFoldable,
    transposed: isFoldable && (isLeftTransposed || isRightTransposed),
  };
  return PRODUCT_FORMS.filter((form) => isPossible[form]);
}

/** A name of a product, equal for equal ones: `float32 1024x256 (704x256)T`. */
export function productName({ dtype, left, right, isLeftTransposed, isRightTransposed }: Product): string {
  const operand = (shape: readonly number[], isTransposed: boolean) =>
    isTransposed ? `(${shape.join('x')})T` : shape.join('x');
  return `${dtype} ${operand(left, isLeftTransposed)} ${operand(right, isRightTransposed)}`;
}

/** Multiplications and additions of a product, each counted for one. */
export function productFlops(product: Product): number {
  return 2 * elementCount(resultShape(product)) * innerWidth(product);
}

/** The different products of a phase, by name. */
export function productsOf({ ops, values }: Recording): ReadonlyMap<string, Product> {
  const products = ops.flatMap((op) => productOf(op, (value) => required(values, value)) ?? []);
  return new Map(products.map((product) => [productName(product), product]));
}

/** A recording of as many equal products as asked for, each with operands of its own: something to measure. */
export function recordProducts(product: Product, phase: string, count: number): Recording {
  const { dtype, left, right, isLeftTransposed, isRightTransposed } = product;
  const attrs: Attrs = { T: typeAttr(dtype), adj_x: flag(isLeftTransposed), adj_y: flag(isRightTransposed) };
  const values = new Map<ValueId, ValueInfo>();
  const ops: RecordedOp[] = [];
  const add = (info: ValueInfo, op: Omit<RecordedOp, 'outputs'>): ValueId => {
    const id = values.size;
    values.set(id, info);
    ops.push({ ...op, outputs: [id] });
    return id;
  };
  const operand = (shape: readonly number[]) => {
    const placeholder: Attrs = { dtype: typeAttr(dtype), shape: { kind: 'shape', value: shape } };
    return add({ shape, dtype }, { type: 'Placeholder', attrs: placeholder, inputs: [] });
  };
  const [inputs, outputs]: [Record<string, ValueId>, Record<string, ValueId>] = [{}, {}];
  for (let i = 0; i < count; i++) {
    const [a, b] = [operand(left), operand(right)];
    inputs[`left${i}`] = a;
    inputs[`right${i}`] = b;
    const info: ValueInfo = { shape: resultShape(product), dtype };
    outputs[`product${i}`] = add(info, { type: 'BatchMatMulV2', attrs, inputs: [a, b] });
  }
  return { program: 'products', phase, ops, values, inputs, outputs, assignments: {} };
}

/** The recording with every product in the form that is chosen for it by its name; others keep the usual one. */
export function withProductForms(recording: Recording, forms: ReadonlyMap<string, ProductForm>): Recording {
  return editOps(recording, (op, editor) => {
    const product = productOf(op, editor.infoOf);
    const form = product && forms.get(productName(product));
    if (product === undefined || form === undefined || form === 'batch') return editor.keep(op);
    editor.replace(outputOf(op), computed(op, product, form, editor));
  });
}

function computed(op: RecordedOp, product: Product, form: ProductForm, editor: Editor): ValueId {
  const { dtype, isLeftTransposed, isRightTransposed } = product;
  const { shape } = editor.infoOf(outputOf(op));
  const [left, right] = [inputOf(op, 0), inputOf(op, 1)];
  const [width, columns] = [innerWidth(product), itemAt(shape, shape.length - 1)];
  const rows = elementCount(product.left) / width;
  const reshaped = (value: ValueId, to: readonly number[]) => {
    if (editor.infoOf(value).shape.join() === to.join()) return value;
    const target = editor.constant(Int32Array.from(to), [to.length]);
    return editor.add('Reshape', { T: typeAttr(dtype), Tshape: typeAttr('int32') }, [value, target], {
      shape: to,
      dtype,
    });
  };
  if (form === 'matrix') {
    const attrs = { T: typeAttr(dtype), transpose_a: flag(isLeftTransposed), transpose_b: flag(isRightTransposed) };
    const rows_RK = product.left.length === 2 ? left : reshaped(left, [rows, width]);
    return reshaped(editor.add('MatMul', attrs, [rows_RK, right], { shape: [rows, columns], dtype }), shape);
  }
  // Of another rank, because TensorFlow makes a flag of a transpose that stands right before a product.
  const left_1RK = reshaped(isLeftTransposed ? transposed(left, editor) : left, [1, rows, width]);
  const right_1KM = reshaped(isRightTransposed ? transposed(right, editor) : right, [1, width, columns]);
  const info: ValueInfo = { shape: [1, rows, columns], dtype };
  return reshaped(editor.add('BatchMatMulV2', { T: typeAttr(dtype) }, [left_1RK, right_1KM], info), shape);
}

/** The transpose of a matrix, in memory. */
function transposed(value: ValueId, editor: Editor): ValueId {
  const { shape, dtype } = editor.infoOf(value);
  const axes = editor.constant(Int32Array.of(1, 0), [2]);
  const attrs = { T: typeAttr(dtype), Tperm: typeAttr('int32') };
  return editor.add('Transpose', attrs, [value, axes], { shape: shape.toReversed(), dtype });
}

/** Undefined for other ops: products with a vector, which are plain already, and those that stay precise. */
function productOf(op: RecordedOp, infoOf: (value: ValueId) => ValueInfo): Product | undefined {
  if (op.type !== 'BatchMatMulV2') return undefined;
  const [left, right] = [infoOf(inputOf(op, 0)), infoOf(inputOf(op, 1))];
  const { dtype } = left;
  if (!isRealType(dtype)) return undefined;
  return {
    dtype: dtype === 'bfloat16' ? dtype : 'float32',
    left: left.shape,
    right: right.shape,
    isLeftTransposed: op.attrs.adj_x?.value === true,
    isRightTransposed: op.attrs.adj_y?.value === true,
  };
}

function innerWidth({ left, isLeftTransposed }: Product): number {
  return itemAt(left, left.length - (isLeftTransposed ? 2 : 1));
}

function resultShape({ left, right, isLeftTransposed, isRightTransposed }: Product): readonly number[] {
  const [longer, shorter] = left.length >= right.length ? [left, right] : [right, left];
  const offset = longer.length - shorter.length;
  const batch = longer.slice(0, -2).map((length, axis) => (length === 1 ? (shorter[axis - offset] ?? 1) : length));
  const rows = itemAt(left, left.length - (isLeftTransposed ? 1 : 2));
  const columns = itemAt(right, right.length - (isRightTransposed ? 2 : 1));
  return [...batch, rows, columns];
}

function flag(value: boolean): AttrValue {
  return { kind: 'bool', value };
}
