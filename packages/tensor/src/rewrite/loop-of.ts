import { LOOP, type RecordedOp, type ValueId } from '../recording.js';
import { isWidening } from './casts.js';

/** Constants of at most so many bytes, such as shapes and single factors, become part of a loop. */
const SMALL_CONSTANT_BYTES = 64;

/**
 * Ops as one loop, with the small constants and the widened bfloat16 values that they read; undefined where that saves
 * no pass over memory.
 * @param outputs the values that leave
 * @param sourceOf the op that yields a value
 */
export function loopOf(
  members: readonly RecordedOp[],
  outputs: readonly ValueId[],
  sourceOf: (value: ValueId) => RecordedOp,
): RecordedOp | undefined {
  const made = new Set(members.flatMap((op) => op.outputs));
  const within = new Set<RecordedOp>();
  const inputs = new Set<ValueId>();
  for (const value of members.flatMap((op) => op.inputs)) {
    if (made.has(value)) continue;
    const source = sourceOf(value);
    if (isWidening(source)) inputs.add(source.inputs[0] as ValueId);
    else if (!isSmallConstant(source)) inputs.add(value);
    if (isWidening(source) || isSmallConstant(source)) within.add(source);
  }
  const ops = [...within, ...members];
  if (ops.filter(({ type }) => type !== 'Reshape' && type !== 'Const').length < 2) return undefined;
  const body = { ops, inputs: [...inputs], outputs };
  return { type: LOOP, attrs: {}, inputs: body.inputs, outputs, body };
}

function isSmallConstant({ type, payload }: RecordedOp): boolean {
  return type === 'Const' && payload !== undefined && payload.byteLength <= SMALL_CONSTANT_BYTES;
}
