import { elementCount, inputOf, outputOf, type RecordedOp, type Recording, required } from '@weft/tensor';

/**
 * Floating-point operations of the matrix products of a recording as it was recorded, so without what is computed twice: a
 * multiplication and an addition for every element of the result and of the axis that is summed over.
 */
export function productFlops({ ops, values }: Recording): number {
  return ops.reduce((sum, op) => {
    if (!/^(Batch)?MatMul(V2)?$/.test(op.type)) return sum;
    const a = required(values, inputOf(op)).shape;
    const contracted = a.at(isTransposed(op) ? -2 : -1) ?? 1;
    return sum + 2 * elementCount(required(values, outputOf(op)).shape) * contracted;
  }, 0);
}

function isTransposed({ attrs }: RecordedOp): boolean {
  return attrs.adj_x?.value === true || attrs.transpose_a?.value === true;
}
