// What the kit compares op by op: families of ops over random shapes. bench/peers/jax_ops.py has the same families.
// Legend: R rows, N, K, M rows, inner width and columns of a product; B batch, T positions, H heads of queries, J heads
// of keys and values, C width of one head; V classes.
import { Random } from '@weft/common';
import {
  adamUpdate,
  attention,
  elementCount,
  type HostArray,
  type Precision,
  type Program,
  preciseMatMul,
  readablePositions,
  recomputable,
  sparseSoftmaxCrossEntropy,
  type TensorSpec,
  tf,
} from '@weft/tensor';

/** One comparison: some ops over some arrays. */
export interface OpCase {
  /** The family: a key of `FAMILIES`, and of the table in jax_ops.py. */
  readonly family: string;
  /** `family` and a number: the phase of the program. */
  readonly name: string;
  readonly inputs: Readonly<Record<string, OpInput>>;
  /** What JAX must know beside the arrays. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Every output by the name of the op that it shows. */
  readonly body: (input: (name: string) => tf.Tensor) => Readonly<Record<string, tf.Tensor>>;
}

export interface OpInput {
  readonly spec: TensorSpec;
  readonly data: HostArray;
}

type Drawn = Omit<OpCase, 'family' | 'name'>;

/** Cases of every family, the same ones for the same numbers. Small ones for CPUs have sides of at most 9. */
export function opCases(precision: Precision, variants: number, isSmall: boolean): readonly OpCase[] {
  return Object.entries(FAMILIES)
    .filter(([, { hasProducts }]) => precision === 'fp32' || hasProducts)
    .flatMap(([family, { draw }]) =>
      Array.from({ length: variants }, (_, variant) => {
        const random = Random.of('gpu kit', family, variant);
        return { family, name: `${family} ${variant}`, ...draw(new Draw(random, isSmall ? 9 : 96)) };
      }),
    );
}

/** One phase for every case; it gives whole numbers where ops give booleans. */
export function opProgram(cases: readonly OpCase[]): Program {
  const phases = cases.map(({ name, inputs, body }) => {
    const specs = Object.fromEntries(Object.entries(inputs).map(([input, { spec }]) => [input, spec]));
    const run: Program['phases'][string]['run'] = ({ input }) =>
      Object.fromEntries(
        Object.entries(body(input)).map(([output, y]) => [output, y.dtype === 'bool' ? tf.cast(y, 'int32') : y]),
      );
    return [name, { inputs: specs, run }] as const;
  });
  return { name: 'ops', state: {}, phases: Object.fromEntries(phases) };
}

/** The arrays of a case, as phases take them. */
export function inputsOf({ inputs }: OpCase): Record<string, HostArray> {
  return Object.fromEntries(Object.entries(inputs).map(([name, { data }]) => [name, data]));
}

/** Random sizes and arrays. */
class Draw {
  readonly random: Random;
  readonly #largest: number;

  constructor(random: Random, largest: number) {
    this.random = random;
    this.#largest = largest;
  }

  /** From 1, and seldom one that GPUs like. */
  size(largest = this.#largest): number {
    return 1 + this.random.below(Math.min(largest, this.#largest));
  }

  get isSmall(): boolean {
    return this.#largest < 16;
  }

  coin(): boolean {
    return this.random.below(2) === 1;
  }

  numbers(shape: readonly number[], low = -2, high = 2): OpInput {
    // A grid of numbers that bfloat16 has not: roundings show. Steps of 2⁻¹⁰ keep floor and mod away from ties.
    const next = () => Math.round((low + (high - low) * this.random.uniform()) * 1024) / 1024;
    return { spec: { shape, dtype: 'float32' }, data: Float32Array.from({ length: elementCount(shape) }, next) };
  }

  normal(shape: readonly number[]): OpInput {
    const data = Float32Array.from({ length: elementCount(shape) }, () => this.random.normal());
    return { spec: { shape, dtype: 'float32' }, data };
  }

  /** From `low` to below `high`. */
  wholeNumbers(shape: readonly number[], low: number, high: number): OpInput {
    const next = () => low + this.random.below(high - low);
    return { spec: { shape, dtype: 'int32' }, data: Int32Array.from({ length: elementCount(shape) }, next) };
  }
}

interface Family {
  readonly draw: (draw: Draw) => Drawn;
  /** Whether bfloat16 changes it. */
  readonly hasProducts?: boolean;
}

const FAMILIES: Readonly<Record<string, Family>> = {
  binary: {
    draw: (draw) => {
      const full = [draw.size(12), draw.size(), draw.size()];
      const part = full.map((size) => (draw.coin() ? size : 1)).slice(draw.random.below(2));
      const inputs = { a: draw.numbers(full), b: draw.numbers(part), c: draw.numbers(full, 0.5, 3) };
      return {
        inputs,
        settings: {},
        body: (input) => {
          const [a, b, c] = [input('a'), input('b'), input('c')];
          return {
            add: tf.add(a, b),
            sub: tf.sub(b, a),
            mul: tf.mul(a, b),
            div: tf.div(b, c),
            pow: tf.pow(c, b),
            mod: tf.mod(a, c),
            maximum: tf.maximum(a, b),
            minimum: tf.minimum(a, b),
            addN: tf.addN([a, c, a]),
            equal: tf.equal(a, b),
            less: tf.less(a, b),
            lessEqual: tf.lessEqual(a, a),
            greaterEqual: tf.greaterEqual(b, a),
            logicalAnd: tf.logicalAnd(tf.less(a, b), tf.less(a, tf.scalar(0.5))),
          };
        },
      };
    },
  },
  unary: {
    draw: (draw) => {
      const shape = [draw.size(), draw.size()];
      return {
        inputs: { a: draw.numbers(shape), c: draw.numbers(shape, 0.1, 4) },
        settings: {},
        body: (input) => {
          const [a, c] = [input('a'), input('c')];
          return {
            neg: tf.neg(a),
            square: tf.square(a),
            floor: tf.floor(a),
            exp: tf.exp(a),
            sin: tf.sin(a),
            cos: tf.cos(a),
            sigmoid: tf.sigmoid(a),
            tanh: tf.tanh(a),
            sqrt: tf.sqrt(c),
            rsqrt: tf.rsqrt(c),
            log: tf.log(c),
            cast: tf.cast(a, 'int32'),
          };
        },
      };
    },
  },
  reductions: {
    draw: (draw) => {
      const shape = [draw.size(9), draw.size(9), draw.size()];
      const axes = shape.map((_, axis) => axis).filter(() => draw.coin());
      const keep = draw.coin();
      return {
        inputs: { x: draw.numbers(shape) },
        settings: { axes, keep },
        body: (input) => {
          const x = input('x');
          return {
            sum: tf.sum(x, axes, keep),
            mean: tf.mean(x, axes, keep),
            max: tf.max(x, axes, keep),
            sumOfAll: tf.sum(x),
          };
        },
      };
    },
  },
  rows: {
    draw: (draw) => {
      const shape = [draw.size(9), 1 + draw.size(60)];
      const [exclusive, reverse] = [draw.coin(), draw.coin()];
      return {
        inputs: { x: draw.numbers(shape, -8, 8) },
        settings: { exclusive, reverse },
        body: (input) => {
          const x = input('x');
          const { values } = tf.topk(x, 2);
          return { softmax: tf.softmax(x), cumsum: tf.cumsum(x, 1, exclusive, reverse), topk: values };
        },
      };
    },
  },
  products: {
    hasProducts: true,
    draw: (draw) => {
      const [outer, n, k, m] = [draw.size(5), draw.size(), draw.size(), draw.size()];
      const [left, right] = [draw.coin(), draw.coin()];
      const wide = draw.isSmall ? 16 : 256;
      return {
        inputs: {
          x: draw.numbers([outer, ...(left ? [k, n] : [n, k])]),
          y: draw.numbers([1, ...(right ? [m, k] : [k, m])]),
          u: draw.normal([wide, 2 * wide]),
          w: draw.normal([2 * wide, wide]),
        },
        settings: { left, right },
        body: (input) => {
          const [x, y, u, w] = [input('x'), input('y'), input('u'), input('w')];
          const loss = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.tanh(tf.mul(tf.matMul(a, b), 0.05)));
          const [du, dw] = tf.grads(loss)([u, w]);
          return {
            matMul: tf.matMul(x, y, left, right),
            wide: tf.matMul(u, w),
            precise: preciseMatMul(u, w),
            du: du as tf.Tensor,
            dw: dw as tf.Tensor,
          };
        },
      };
    },
  },
  convolution: {
    draw: (draw) => {
      const [images, grid, channels] = [draw.size(4), 2 + draw.size(14), draw.size(64)];
      return {
        inputs: {
          x: draw.numbers([images, grid, grid, channels]),
          filter: draw.numbers([3, 3, channels, 1]),
          weights: draw.numbers([images, grid, grid, channels]),
        },
        settings: {},
        body: (input) => {
          const weights = input('weights');
          const convolved = (x: tf.Tensor, filter: tf.Tensor) =>
            tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, 'same');
          const loss = (x: tf.Tensor, filter: tf.Tensor) => tf.sum(tf.mul(convolved(x, filter), weights));
          const [dx, dfilter] = tf.grads(loss)([input('x'), input('filter')]);
          return {
            depthwise: convolved(input('x'), input('filter')),
            dx: dx as tf.Tensor,
            dfilter: dfilter as tf.Tensor,
          };
        },
      };
    },
  },
  moves: {
    draw: (draw) => {
      const [a, b, c] = [draw.size(9), draw.size(), draw.size(9)];
      return {
        inputs: { x: draw.numbers([a, b, 2 * c]), y: draw.numbers([a, b]) },
        settings: { a, b, c },
        body: (input) => {
          const [x, y] = [input('x'), input('y')];
          const [first, second] = tf.split(x, 2, -1);
          return {
            reshape: tf.reshape(x, [b, 2 * c * a]),
            expandDims: tf.expandDims(y, 1),
            transpose: tf.transpose(x, [2, 0, 1]),
            slice: tf.slice(x, [0, b - 1, 1], [a, 1, -1]),
            splitFirst: first as tf.Tensor,
            splitSecond: second as tf.Tensor,
            concat: tf.concat([y, tf.neg(y)], 0),
            stack: tf.stack([y, tf.neg(y)], -1),
            range: tf.mul(tf.range(1, 2 * c + 1, 2), tf.mean(y)),
          };
        },
      };
    },
  },
  indexing: {
    draw: (draw) => {
      const [rows, columns, n] = [draw.size(), draw.size(), draw.size()];
      return {
        inputs: {
          x: draw.numbers([rows, columns, 2]),
          byRow: draw.wholeNumbers([n, 2], 0, rows),
          byColumn: draw.wholeNumbers([n], 0, columns),
          slices: draw.numbers([n, 2]),
          elements: draw.numbers([n]),
          segments: draw.wholeNumbers([n], 0, rows),
        },
        settings: { rows, columns },
        body: (input) => {
          const [x, byRow, byColumn] = [input('x'), input('byRow'), input('byColumn') as tf.Tensor1D];
          const [slices, elements] = [input('slices'), input('elements')];
          const positions = tf.concat([tf.slice(byRow, [0, 0], [n, 1]), tf.expandDims(byColumn, 1)], 1);
          return {
            gather: tf.gather(x, byRow as tf.Tensor2D),
            gatherColumns: tf.gather(x, byColumn, 1),
            gatherND: tf.gatherND(x, positions),
            scatterND: tf.scatterND(positions, elements, [rows, columns]),
            scatterSlices: tf.scatterND(positions, slices, [rows, columns, 2]),
            oneHot: tf.oneHot(byColumn, columns + 1),
            segmentSum: tf.unsortedSegmentSum(slices, input('segments') as tf.Tensor1D, rows),
          };
        },
      };
    },
  },
  crossEntropy: {
    draw: (draw) => {
      const [rows, classes] = [draw.size(), 1 + draw.size()];
      return {
        inputs: { scores: draw.numbers([rows, classes], -6, 6), labels: draw.wholeNumbers([rows], 0, classes) },
        settings: {},
        body: (input) => {
          const loss = (x: tf.Tensor) =>
            tf.sum(sparseSoftmaxCrossEntropy(x as tf.Tensor2D, input('labels') as tf.Tensor1D));
          return { loss: loss(input('scores')), gradient: tf.grad(loss)(input('scores')) };
        },
      };
    },
  },
  adam: {
    draw: (draw) => {
      const shape = [draw.size(), draw.size()];
      const step = 1 + draw.random.below(50);
      const settings = { step, learningRate: 0.01, gradientScale: 0.5, kept: 0.99 };
      return {
        inputs: {
          p: draw.numbers(shape),
          m: draw.numbers(shape),
          v: draw.numbers(shape, 0.01, 1),
          g: draw.numbers(shape),
        },
        settings,
        body: (input) => {
          const before = { parameter: input('p'), firstMoment: input('m'), secondMoment: input('v') };
          const updated = adamUpdate(before, input('g'), {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            step: tf.scalar(settings.step),
            learningRate: tf.scalar(settings.learningRate),
            gradientScale: tf.scalar(settings.gradientScale),
            kept: tf.scalar(settings.kept),
          });
          return { parameter: updated.parameter, firstMoment: updated.firstMoment, secondMoment: updated.secondMoment };
        },
      };
    },
  },
  recomputed: {
    hasProducts: true,
    draw: (draw) => {
      const n = draw.size();
      return {
        inputs: { x: draw.numbers([n, n], -1, 1) },
        settings: {},
        body: (input) => {
          const block = (y: tf.Tensor) =>
            tf.sum(recomputable(() => tf.sin(tf.mul(tf.matMul(y as tf.Tensor2D, y as tf.Tensor2D), 0.1))));
          return { value: block(input('x')), gradient: tf.grad(block)(input('x')) };
        },
      };
    },
  },
  attention: { hasProducts: true, draw: (draw) => drawAttention(draw, false, 1) },
  attentionPacked: { hasProducts: true, draw: (draw) => drawAttention(draw, true, 1) },
  attentionGrouped: { hasProducts: true, draw: (draw) => drawAttention(draw, true, 3) },
};

/** Beyond 128 positions, where the lowering goes block by block or takes cuDNN's kernel. */
function drawAttention(draw: Draw, isPacked: boolean, group: number): Drawn {
  const [B, T] = [1 + draw.random.below(2), draw.isSmall ? 130 + draw.size() : 128 * (1 + draw.size(4))];
  const [J, C] = draw.isSmall ? [1, 8] : [2, 64 * (1 + draw.random.below(2))];
  const heads = (count: number) => draw.normal([B, T, count, C]);
  // The last position is padding.
  const segmentIds = Int32Array.from({ length: B * T });
  for (let b = 0; b < B; b++) {
    for (let t = 0, segment = 1; t < T; t++) {
      if (draw.random.uniform() < 4 / T) segment++;
      segmentIds[b * T + t] = t === T - 1 ? 0 : segment;
    }
  }
  const packed = { segmentIds: { spec: { shape: [B, T], dtype: 'int32' }, data: segmentIds } } as const;
  return {
    inputs: {
      q: heads(J * group),
      k: heads(J),
      v: heads(J),
      weights: heads(J * group),
      ...(isPacked ? packed : {}),
    },
    settings: { group },
    body: (input) => {
      const readable = readablePositions(true, isPacked ? input('segmentIds') : undefined);
      const read = (...[q, k, v]: tf.Tensor[]) => attention(q as tf.Tensor, k as tf.Tensor, v as tf.Tensor, readable);
      const loss = (...qkv: tf.Tensor[]) => tf.sum(tf.mul(read(...qkv), input('weights')));
      const qkv = [input('q'), input('k'), input('v')];
      const [dq, dk, dv] = tf.grads(loss)(qkv) as [tf.Tensor, tf.Tensor, tf.Tensor];
      return { read: read(...qkv), dq, dk, dv };
    },
  };
}
