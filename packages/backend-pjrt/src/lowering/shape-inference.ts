import { refuse } from '@weft/common';
import { type RecordedOp, required, type ShapeInference, type ValueId, type ValueInfo } from '@weft/tensor';
import { Builder } from './builder.js';
import { lowerOp } from './lower-op.js';
import type { Value } from './value.js';

/** The shapes of recorded ops, as their lowering computes them: what is written on the way is thrown away. */
export class LoweringShapeInference implements ShapeInference {
  readonly #values = new Map<ValueId, Value>();

  outputsOf(op: RecordedOp, constant?: ValueInfo): readonly ValueInfo[] {
    const values = this.#lowered(op, constant);
    for (const [index, id] of op.outputs.entries()) {
      this.#values.set(id, values[index] ?? refuse('internal', `${op.type} has no output ${index}`));
    }
    return values.map(({ shape, dtype }) => ({ shape, dtype }));
  }

  dispose(): void {
    this.#values.clear();
  }

  #lowered(op: RecordedOp, constant: ValueInfo | undefined): readonly Value[] {
    const { type, attrs, inputs, constantValue } = op;
    if (constant !== undefined && constantValue !== undefined)
      return [{ name: '%constant', ...constant, constantValue }];
    if (type === 'Placeholder') {
      const { dtype, shape } = attrs;
      if (dtype?.kind !== 'type' || shape?.kind !== 'shape') return refuse('internal', 'a placeholder has no type');
      return [{ name: '%input', shape: shape.value, dtype: dtype.value }];
    }
    return lowerOp(
      new Builder(),
      op,
      inputs.map((id) => required(this.#values, id)),
    );
  }
}
