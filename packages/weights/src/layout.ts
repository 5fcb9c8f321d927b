// Legend: I, O rows and columns of our matrices; W width of the encoder, C colours, Q pixels of a patch's side.
import { WeftError } from '@weft/common';
import type { ParameterSpec } from '@weft/model';

/**
 * How values of ours lie in a published tensor:
 * - `same`: in the same order;
 * - `transposed`: our matrix [I, O] is [O, I] there, as PyTorch's `Linear` keeps it;
 * - `patch`: our matrix [Q·Q·C, W], whose rows are pixels with their colours, is the kernel of a convolution [W, C, Q, Q].
 */
export type Form = 'same' | 'transposed' | 'patch';

/** One line of a layout: where a parameter of ours lies. */
export interface Entry {
  /** The published tensor. Several entries of one tensor lie in it one after the other, along its first axis. */
  readonly theirs: string;
  /** The parameter's name below its part, such as `layers/0/attention/query`. */
  readonly ours: string;
  readonly form: Form;
}

/** A parameter inside a published tensor. */
export interface LayoutPart {
  readonly ours: string;
  readonly form: Form;
  /** Of our parameter. */
  readonly shape: readonly number[];
  /** The first element of it in the published tensor. */
  readonly offset: number;
}

/** A published tensor and what of ours it is made of. */
export interface LayoutTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly parts: readonly LayoutPart[];
}

/**
 * The published tensors that hold these parameters.
 *
 * @param entries may name parameters that this variant of the model does not have; they are passed over
 * @throws WeftError `invalid_argument` naming parameters that the layout has no place for
 */
export function layoutOf(
  layout: string,
  specs: readonly ParameterSpec[],
  entries: readonly Entry[],
): readonly LayoutTensor[] {
  const shapes = new Map(specs.map(({ name, shape }) => [name, shape]));
  const placed = new Set(entries.map(({ ours }) => ours));
  const homeless = specs.flatMap(({ name }) => (placed.has(name) ? [] : [name]));
  if (homeless.length > 0)
    throw new WeftError('invalid_argument', `${layout} has no place for ${homeless.join(', ')}`, {
      hint: 'such a model can be kept as a Weft checkpoint only',
    });
  const tensors = new Map<string, LayoutTensor>();
  for (const { theirs, ours, form } of entries) {
    const shape = shapes.get(ours);
    if (shape === undefined) continue;
    const own = publishedShape(form, shape);
    const before = tensors.get(theirs);
    const [rows = 0, ...rest] = before?.shape ?? [0];
    const [ownRows = 1, ...ownRest] = own;
    const offset = before === undefined ? 0 : rows * rest.reduce((product, size) => product * size, 1);
    tensors.set(theirs, {
      name: theirs,
      shape: [rows + ownRows, ...ownRest],
      parts: [...(before?.parts ?? []), { ours, form, shape, offset }],
    });
  }
  return [...tensors.values()];
}

function publishedShape(form: Form, shape: readonly number[]): readonly number[] {
  const [rows = 1, columns = 1] = shape;
  if (form === 'same') return shape;
  if (form === 'transposed') return [columns, rows];
  const side = Math.sqrt(rows / COLOURS);
  return [columns, COLOURS, side, side];
}

const COLOURS = 3;

/**
 * Puts published values where they belong among ours.
 *
 * @param values from element `first` of the part on
 * @param into the whole parameter
 */
export function fromPublished(part: LayoutPart, values: Float32Array, first: number, into: Float32Array): void {
  if (part.form === 'same') {
    into.set(values, first);
    return;
  }
  const { rows, columns, rowOf } = matrixOf(part);
  for (let i = 0; i < values.length; i++) {
    const at = first + i;
    into[rowOf(at % rows) * columns + Math.floor(at / rows)] = values[i]!;
  }
}

/** The published values of a parameter from element `first` on, `count` of them. */
export function toPublished(part: LayoutPart, ours: Float32Array, first: number, count: number): Float32Array {
  if (part.form === 'same') return ours.subarray(first, first + count);
  const { rows, columns, rowOf } = matrixOf(part);
  return Float32Array.from({ length: count }, (_, i) => {
    const at = first + i;
    return ours[rowOf(at % rows) * columns + Math.floor(at / rows)]!;
  });
}

/** Our matrix, and which of its rows a published column is. */
function matrixOf({ form, shape }: LayoutPart) {
  const [rows = 1, columns = 1] = shape;
  const pixels = rows / COLOURS;
  const rowOf =
    form === 'patch'
      ? (column: number) => (column % pixels) * COLOURS + Math.floor(column / pixels)
      : (column: number) => column;
  return { rows, columns, rowOf };
}
