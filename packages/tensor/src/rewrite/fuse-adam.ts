import { ADAM_UPDATE, adamInputs } from '../adam-update.js';
import { elementCount } from '../program.js';
import { inputOf, type LoopBody, type RecordedOp, type ValueId, type ValueInfo, withOps } from '../recording.js';
import { required } from '../required.js';
import { FLOAT, typeAttr } from './casts.js';
import type { Pass } from './edit.js';

/** Elements. For smaller parameters TensorFlow's own kernel is as fast, and needs no compilation. */
const SMALLEST = 2 ** 16;

/** The updates of large parameters become loops that XLA compiles, with clipping and weight decay inside. */
export const fuseAdam: Pass = (recording) => {
  const values = new Map(recording.values);
  let last = Math.max(...values.keys());
  const newValue = (info: ValueInfo): ValueId => {
    values.set(++last, info);
    return last;
  };
  const infoOf = (value: ValueId) => required(values, value);
  const isLarge = (value: ValueId) => elementCount(values.get(value)?.shape ?? []) >= SMALLEST;
  const ops = recording.ops.map((op) =>
    op.type === ADAM_UPDATE && isLarge(inputOf(op)) ? { ...op, body: bodyOf(op, { infoOf, newValue }) } : op,
  );
  return withOps(recording, ops, values);
};

interface Values {
  readonly infoOf: (value: ValueId) => ValueInfo;
  /** Another value, like `info`. */
  readonly newValue: (info: ValueInfo) => ValueId;
}

/** The arithmetic of TensorFlow's kernel. */
function bodyOf({ inputs }: RecordedOp, values: Values): LoopBody {
  const ops: RecordedOp[] = [];
  const { mul, sub, add, div, sqrt, one } = arithmetic(ops, values);
  const { p, m, v, gradient, gradientScale, power1, power2, learningRate, beta1, beta2, epsilon, kept } =
    adamInputs(inputs);

  const scaled = mul(gradient, gradientScale);
  const newM = add(m, mul(sub(scaled, m), sub(one, beta1)));
  const newV = add(v, mul(sub(mul(scaled, scaled), v), sub(one, beta2)));
  const stepSize = div(mul(learningRate, sqrt(sub(one, power2))), sub(one, power1));
  const step = div(mul(newM, stepSize), add(sqrt(newV), epsilon));
  const newP = sub(kept === undefined ? p : mul(p, kept), step);
  return { ops, inputs, outputs: [newP, newM, newV] };
}

/** Adds float32 ops to `ops`, over operands of one shape or scalars. */
function arithmetic(ops: RecordedOp[], { infoOf, newValue }: Values) {
  const put = (op: Omit<RecordedOp, 'outputs'>, info: ValueInfo): ValueId => {
    const output = newValue(info);
    ops.push({ ...op, outputs: [output] });
    return output;
  };
  const binary = (type: 'Mul' | 'Sub' | 'AddV2' | 'RealDiv') => (a: ValueId, b: ValueId) =>
    put({ type, attrs: FLOAT, inputs: [a, b] }, infoOf(infoOf(a).shape.length > 0 ? a : b));
  return {
    mul: binary('Mul'),
    sub: binary('Sub'),
    add: binary('AddV2'),
    div: binary('RealDiv'),
    sqrt: (x: ValueId) => put({ type: 'Sqrt', attrs: FLOAT, inputs: [x] }, infoOf(x)),
    one: put(
      {
        type: 'Const',
        attrs: { dtype: typeAttr('float32') },
        inputs: [],
        constantValue: new Uint8Array(Float32Array.of(1).buffer),
      },
      { shape: [], dtype: 'float32' },
    ),
  };
}
