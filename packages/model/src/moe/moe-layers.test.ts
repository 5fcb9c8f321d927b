// Legend: R tokens, D width, E experts, F feed-forward width.
import { Random } from '@weft/common';
import { tf } from '@weft/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assign,
  type Matrix,
  type ReferenceLayer,
  type ReferenceSetting,
  referenceLayer,
} from '../../test-support/moe-reference.js';
import { distance, numbers } from '../../test-support/tensors.js';
import { tinyModel } from '../../test-support/tiny-model.js';
import { expertForward } from './experts.js';
import { MoeLayers } from './moe-layers.js';
import { decodeMoeStats } from './moe-stats.js';

interface Case extends ReferenceSetting {
  readonly seed: number;
  readonly groups: number;
  readonly experts: number;
  readonly width: number;
  readonly hidden: number;
  /** Whether x and router are small whole numbers, so that tokens are often tied between experts. */
  readonly hasTies: boolean;
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    seed: fc.nat(1e6),
    groups: fc.integer({ min: 1, max: 3 }),
    groupSize: fc.integer({ min: 1, max: 9 }),
    experts: fc.integer({ min: 2, max: 5 }),
    width: fc.integer({ min: 1, max: 4 }),
    hidden: fc.integer({ min: 1, max: 3 }),
    capacityFactor: fc.constantFrom(0.25, 0.5, 1, 1.25, 2, 8, 'dropless' as const),
    hasTies: fc.boolean(),
    padding: fc.constantFrom(0, 0.3, 1),
  })
  .map(({ padding, ...one }) => {
    const random = Random.of(one.seed, 'padding');
    const live = Array.from({ length: one.groups * one.groupSize }, () => random.uniform() >= padding);
    return { ...one, live, isTarget: live.map((isLive) => isLive && random.uniform() < 0.7) };
  });

function layerOf({ seed, live, experts, width, hidden, hasTies }: Case): ReferenceLayer {
  const random = Random.of(seed, 'layer');
  const matrix = (rows: number, columns: number, next: () => number): Matrix =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, () => Math.fround(next())));
  const routed = () => (hasTies ? Math.floor(3 * random.uniform()) - 1 : random.normal());
  return {
    x: matrix(live.length, width, routed),
    router: matrix(width, experts, routed),
    experts: Array.from({ length: experts }, () => ({
      gate: matrix(width, hidden, () => random.normal()),
      up: matrix(width, hidden, () => random.normal()),
      down: matrix(hidden, width, () => random.normal()),
    })),
  };
}

const [LOAD_BALANCE_WEIGHT, Z_WEIGHT] = [0.3, 0.2];

function modelOf({ experts, groupSize, capacityFactor, width }: Case) {
  const moe = {
    experts,
    everyLayers: 1,
    capacityFactor,
    groupSize,
    loadBalanceWeight: LOAD_BALANCE_WEIGHT,
    routerZWeight: Z_WEIGHT,
    jitter: 0,
    exchangePrecision: 'fp32',
  } as const;
  return { ...tinyModel, decoder: { ...tinyModel.decoder, depth: 1, width, moe } };
}

/** x, router, gate, up, down. */
function tensorsOf({ x, router, experts }: ReferenceLayer): tf.Tensor[] {
  const stacked = (matrix: 'gate' | 'up' | 'down') =>
    tf.tensor3d(experts.map((expert) => expert[matrix].map((row) => [...row])));
  const flat = (matrix: Matrix) => tf.tensor2d(matrix.map((row) => [...row]));
  return [flat(x), flat(router), stacked('gate'), stacked('up'), stacked('down')];
}

/** The weights that an output is summed up with, so that no two elements cancel. */
function outputWeights({ seed, live, width }: Case): number[] {
  const random = Random.of(seed, 'weights');
  return Array.from({ length: live.length * width }, () => Math.fround(random.normal()));
}

/** The layer of the model: output, objective, gradients by x, router, gate, up and down, and stats. */
function modelLayer(one: Case, layer: ReferenceLayer) {
  const model = modelOf(one);
  const mask = (values: readonly boolean[]) => tf.tensor2d([values.map(Number)]);
  const weights_RD = tf.tensor2d(outputWeights(one), [one.live.length, one.width]);
  let moe: MoeLayers | undefined;
  const run = (x: tf.Tensor, router: tf.Tensor, gate_EDF: tf.Tensor, up_EDF: tf.Tensor, down_EFD: tf.Tensor) => {
    const segmentIds_BT = tf.cast(mask(one.live), 'int32');
    const batch = { tokenIds_BT: segmentIds_BT, segmentIds_BT, lossMask_BT: mask(one.isTarget) };
    moe = new MoeLayers(model, batch, (_, tokens_ECD) => expertForward({ gate_EDF, up_EDF, down_EFD }, tokens_ECD));
    return moe.feedForward(0, x, router);
  };
  const inputs = tensorsOf(layer) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
  const out = numbers(run(...inputs));
  const stats = decodeMoeStats(model, numbers(moe!.stats()), one.isTarget.filter(Boolean).length);
  const { value, grads } = tf.valueAndGrads((...given: tf.Tensor[]) => {
    const y_RD = run(...(given as typeof inputs));
    return tf.add(tf.sum(tf.mul(y_RD, weights_RD)), moe!.auxiliaryLoss()) as tf.Scalar;
  })(inputs);
  return { out, stats: stats[0]!, objective: numbers(value)[0]!, gradients: grads.map(numbers) };
}

/** The same from the definition; the gradients are differences in double precision, with the assignments kept fixed. */
function definition(one: Case, layer: ReferenceLayer) {
  const assignments = assign(layer, one);
  const weights = outputWeights(one);
  const objective = (at: ReferenceLayer) => {
    const { out, loadBalance, zLoss } = referenceLayer(at, one, assignments);
    const weighed = out.flat().reduce((sum, value, i) => sum + value * weights[i]!, 0);
    return weighed + LOAD_BALANCE_WEIGHT * loadBalance + Z_WEIGHT * zLoss;
  };
  const slope = (moved: (by: number) => ReferenceLayer) => (objective(moved(1e-5)) - objective(moved(-1e-5))) / 2e-5;
  const each = (matrix: Matrix, put: (changed: Matrix) => ReferenceLayer) =>
    matrix.flatMap((row, r) => row.map((_, c) => slope((by) => put(changed(matrix, r, c, by)))));
  const ofExperts = (name: 'gate' | 'up' | 'down') =>
    layer.experts.flatMap((expert, e) =>
      each(expert[name], (matrix) => ({ ...layer, experts: layer.experts.with(e, { ...expert, [name]: matrix }) })),
    );
  const gradients = [
    each(layer.x, (x) => ({ ...layer, x })),
    each(layer.router, (router) => ({ ...layer, router })),
    ...(['gate', 'up', 'down'] as const).map(ofExperts),
  ];
  return { ...referenceLayer(layer, one, assignments), objective: objective(layer), gradients };
}

function changed(matrix: Matrix, row: number, column: number, by: number): Matrix {
  return matrix.with(row, matrix[row]!.with(column, matrix[row]![column]! + by));
}

function expectEqual(one: Case): void {
  const layer = layerOf(one);
  const [actual, expected] = [modelLayer(one, layer), definition(one, layer)];
  const near = (what: string, given: readonly number[], wanted: readonly number[], tolerance = 1e-4) =>
    expect(distance(given, wanted) / Math.max(1, ...wanted.map(Math.abs)), what).toBeLessThan(tolerance);

  expect(actual.stats.routed).toEqual(expected.routed);
  expect(actual.stats.dropped).toEqual(expected.dropped);
  near('output', actual.out, expected.out.flat());
  near('objective', [actual.objective], [expected.objective]);
  ['x', 'router', 'gate', 'up', 'down'].forEach((name, i) => {
    near(`gradient by ${name}`, actual.gradients[i]!, expected.gradients[i]!, 1e-3);
  });

  const tokens = one.live.filter(Boolean).length;
  const targets = one.isTarget.filter(Boolean).length;
  expect(actual.stats.tokens).toBe(tokens);
  const { routerEntropy, loadBalanceLoss, routerZLoss } = actual.stats;
  near('entropy', [routerEntropy], [tokens === 0 ? 0 : expected.entropy / tokens]);
  near('load balance', [loadBalanceLoss], [targets === 0 ? 0 : expected.loadBalance / targets]);
  near('z-loss', [routerZLoss], [targets === 0 ? 0 : expected.zLoss / targets]);
}

describe('an MoE layer', () => {
  it('equals its definition in outputs, gradients, drops and losses, for random shapes, capacities and ties', () => {
    fc.assert(fc.property(cases, expectEqual), { numRuns: 40 });
  });
});
