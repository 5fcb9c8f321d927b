// Trains a linear task on the JavaScript engine, then records the same program, in a process where neither koffi nor
// TensorFlow's library nor tfjs-node's addon can be loaded. Prints what came out; see train-program.process.test.ts.

import Module, { register } from 'node:module';

/** Part of the path of what may not be loaded from now on. */
let forbidden = /node_modules\/(koffi|@tensorflow\/tfjs-node)|libtensorflow/;
const refuse = (/** @type {string} */ path) => {
  if (forbidden.test(path)) throw new Error(`${path} was loaded`);
};
const { _resolveFilename: resolve } = Module;
Module._resolveFilename = (...call) => {
  const path = resolve(...call);
  refuse(path);
  return path;
};
const { dlopen } = process;
process.dlopen = (...call) => {
  refuse(call[1]);
  return dlopen(...call);
};
const hooks = `export const resolve = async (name, context, next) => {
  if (/^(koffi|@tensorflow[/]tfjs-node.*)$/.test(name)) throw new Error(name + ' was imported');
  return next(name, context);
};`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
process.env.WEFT_TENSORFLOW_DIR = '/nowhere';

const { trainProgram } = await import('../dist/index.js');
const { recordPhase, rewrite, tf } = await import('@weft/tensor');
const { createExecutor } = await import('@weft/backend-tensorflow');

const float = (/** @type {number[]} */ ...shape) => ({ shape, dtype: /** @type {const} */ ('float32') });
const parameter = (/** @type {string} */ name, /** @type {number[]} */ shape) => ({
  name,
  shape,
  weightDecay: true,
  stored: [{ name, shape, offset: 0, initialSources: [name], maySeed: false }],
  initialValue: () => new Float32Array(shape.reduce((product, each) => product * each, 1)),
});
/** Least squares over four points of y = 3·x₀ − 2·x₁ + 1. */
const task = {
  name: 'least squares',
  parameters: [parameter('weights', [2]), parameter('bias', [])],
  sequenceLength: 1,
  batch: { x: float(4, 2), y: float(4) },
  statsLength: 0,
  remoteExperts: undefined,
  forward: ({ batch: { x, y }, parameter }) => {
    const predicted = tf.add(tf.sum(tf.mul(x, parameter('weights')), 1), parameter('bias'));
    const lossSum = tf.sum(tf.square(tf.sub(predicted, y)));
    return { objective: lossSum, lossSum, stats: undefined };
  },
  lossTokens: ({ y }) => tf.sum(tf.add(tf.mul(y, 0), 1)),
  readStats: () => ({ moeLayers: [] }),
  isRemote: () => false,
  openData: () => Promise.reject(new Error('no data')),
};
const optimizer = {
  kind: 'adamw',
  learningRate: 0.1,
  warmupSteps: 0,
  finalLearningRateRatio: 1,
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  clipNorm: 100,
};
const program = trainProgram(task, { optimizer, steps: 20 });

const executor = createExecutor(program, { kind: 'javascript', precision: 'fp32', threads: 1 });
const zeros = Object.entries(program.state).map(([name, { shape }]) => [name, new Float32Array(shape[0] ?? 1)]);
await executor.writeState(Object.fromEntries(zeros));
const batch = { x: Float32Array.of(1, 0, 0, 1, 1, 1, -1, 2), y: Float32Array.of(4, -1, 2, -6) };
const losses = [];
for (let step = 1; step <= 20; step++) {
  const buckets = await executor.run('gradients', batch);
  const { loss, gradNorm } = await executor.run('measure', buckets);
  losses.push(loss.data[0]);
  await executor.run('apply', { ...buckets, gradNorm: gradNorm.data.slice(), step: Float32Array.of(step) });
}
await executor.dispose();

// tfjs-node's kernels are plain JavaScript, and recording needs them; its index and its addon stay out of reach.
forbidden =
  /node_modules\/(koffi|@tensorflow\/tfjs-node[^/]*\/(dist\/index|lib|build-tmp)|@mapbox)|libtensorflow|\.node$/;
const ops = Object.keys(program.phases).map((phase) => {
  const recording = recordPhase(shapeInference(), program, phase);
  const rewritten = rewrite(recording, { precision: 'bf16', recompute: 'none', hasLoops: false });
  return [phase, recording.ops.length, rewritten.ops.length > 0];
});
console.log(JSON.stringify({ first: losses[0], last: losses.at(-1), ops }));

/** Shapes of the ops that this program records; a backend knows all of them. */
function shapeInference() {
  /** @type {Map<number, { shape: readonly number[]; dtype: string; ints?: number[] }>} */
  const values = new Map();
  const ELEMENTWISE = ['Add', 'Sub', 'Mul', 'RealDiv', 'Maximum', 'Minimum', 'Pow', 'AddN'];
  return {
    outputsOf(op, constant) {
      const inputs = op.inputs.map((id) => values.get(id));
      const info = { dtype: op.attrs.T?.value ?? op.attrs.dtype?.value, ...shapeOf(op, inputs, constant) };
      values.set(op.outputs[0], info);
      return [info];
    },
    dispose: () => {},
  };

  function shapeOf({ type, attrs, constantValue }, inputs, constant) {
    const [x, second, third] = inputs;
    const sizeOf = ({ shape }) => shape.reduce((product, each) => product * each, 1) * 10 + shape.length;
    const largest = (infos) => infos.reduce((a, b) => (sizeOf(b) > sizeOf(a) ? b : a)).shape;
    if (type === 'Const') {
      const isInts = constant.dtype === 'int32';
      return { ...constant, ints: isInts ? [...new Int32Array(constantValue.slice().buffer)] : undefined };
    }
    if (type === 'Placeholder') return { shape: attrs.shape.value };
    if (ELEMENTWISE.includes(type)) return { shape: largest(inputs) };
    if (type === 'Cast') return { shape: x.shape, dtype: attrs.DstT.value };
    if (type === 'Fill') return { shape: x.ints };
    if (type === 'Slice') return { shape: third.ints };
    if (type === 'ExpandDims') return { shape: x.shape.toSpliced(second.ints[0], 0, 1), dtype: x.dtype };
    if (type === 'Reshape') {
      const size = x.shape.reduce((product, each) => product * each, 1);
      const known = second.ints.reduce((product, each) => (each < 0 ? product : product * each), 1);
      return { shape: second.ints.map((each) => (each < 0 ? size / known : each)) };
    }
    if (type === 'ConcatV2') {
      return { shape: [inputs.slice(0, -1).reduce((sum, { shape }) => sum + shape[0], 0)] };
    }
    if (type === 'Sum') {
      return { shape: x.shape.filter((_, axis) => !second.ints.includes(axis)) };
    }
    return { shape: x.shape };
  }
}
