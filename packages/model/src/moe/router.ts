// Legend: B sequences, T positions, R = B·T = G·S tokens of a microbatch, G groups, S tokens of a group, E experts,
// 2 assignments of every token, D width.
import { Random } from '@weft/common';
import type { ModelConfig } from '@weft/config';
import { customGradient, preciseMatMul, tf } from '@weft/tensor';
import { sizes, stopGradient } from '../ops.js';
import type { TokenGroups } from './moe-shape.js';
import { assignSlots, type TokenAssignment } from './token-assignment.js';

/** What the router of one layer decided, and what that costs. */
export interface Routing {
  readonly assignment: TokenAssignment;
  /** The weight of every assignment in its token's result; 0 where it was dropped. Differentiable. */
  readonly gates_2R: tf.Tensor;
  /** The load-balance loss, summed over text targets. Differentiable. */
  readonly loadBalance: tf.Scalar;
  /** The router's z-loss, summed over text targets. Differentiable. */
  readonly zLoss: tf.Scalar;
  /** The entropy of the router's distributions in nats, summed over tokens. */
  readonly entropy: tf.Scalar;
}

/** Keeps the gates of a token finite when its probabilities vanish, as AXLearn does. */
const GATE_EPSILON = 1e-9;

/**
 * Top-2 routing (GShard, Lepikhin et al., 2020, as AXLearn's Top2Gating implements it): p = softmax(x·router); a token
 * goes to the two experts of the largest p, the lower id first where they are equal; their gates are p₁/(p₁ + p₂ + ε)
 * and p₂/(p₁ + p₂ + ε). Only then are assignments beyond the capacity dropped.
 * @param x_RD what the router reads, one row per token
 * @param router_DE its weights
 */
export function route(x_RD: tf.Tensor, router_DE: tf.Tensor, groups: TokenGroups): Routing {
  // In float32 also in a bf16 run: rounding would change which experts win (ST-MoE, Zoph et al., 2022).
  const logits_RE = preciseMatMul(x_RD, router_DE);
  const p_RE = tf.softmax(logits_RE);
  // Which experts win is a step function of the logits and has no gradient. The router learns through the gates, which
  // say how much each winner counts, and through the auxiliary losses.
  const expert_2R = stopGradient(() => tf.transpose(tf.cast(tf.topk(p_RE, 2).indices, 'float32')));
  const assignment = assignSlots(expert_2R, groups);
  return {
    assignment,
    gates_2R: tf.mul(gates(p_RE, assignment), assignment.keepMask_2R),
    loadBalance: loadBalanceLoss(p_RE, assignment, groups),
    zLoss: zLoss(logits_RE, p_RE, groups),
    entropy: entropySum(logits_RE, p_RE, groups),
  };
}

function gates(p_RE: tf.Tensor, { expertMask_2RE }: TokenAssignment): tf.Tensor {
  const chosen_2R = tf.sum(tf.mul(p_RE, expertMask_2RE), 2);
  return tf.div(chosen_2R, tf.add(tf.sum(chosen_2R, 0, true), GATE_EPSILON));
}

/**
 * E²·mean over experts of density · mean p for every group, where density is the share of tokens whose *first* expert it
 * is, before drops (GShard): 1 when the load is even, E when one expert gets everything. The density is a count and has
 * no gradient; the loss lowers the probabilities of experts in proportion to how crowded they are.
 */
function loadBalanceLoss(p_RE: tf.Tensor, { routed_2GE }: TokenAssignment, { shape, size_G, share_R }: TokenGroups) {
  const { experts, groups, groupSize } = shape;
  const first_GE = tf.squeeze(tf.slice(routed_2GE, 0, 1), [0]);
  const density_G1E = tf.expandDims(tf.div(first_GE, tf.expandDims(size_G, 1)), 1);
  const weight_GSE = tf.mul(tf.reshape(share_R, [groups, groupSize, 1]), tf.mul(density_G1E, experts));
  return tf.sum<tf.Scalar>(tf.mul(tf.reshape(p_RE, [groups, groupSize, experts]), weight_GSE));
}

/**
 * The mean of logsumexp(logits)² over the tokens of every group (ST-MoE, Zoph et al., 2022): keeps logits small, where
 * softmax is exact. Its gradient, 2·logsumexp·p, reuses the probabilities of the forward pass.
 */
function zLoss(logits_RE: tf.Tensor, p_RE: tf.Tensor, { share_R }: TokenGroups): tf.Scalar {
  return customGradient(
    [logits_RE],
    () => {
      const logSum_R = tf.logSumExp(logits_RE, 1);
      const weighted_R = tf.mul(share_R, logSum_R);
      return { value: tf.sum<tf.Scalar>(tf.mul(weighted_R, logSum_R)), saved: { weighted_R, p_RE } };
    },
    (dLoss, saved) => [tf.mul(saved.p_RE, tf.expandDims(tf.mul(saved.weighted_R, tf.mul(dLoss, 2)), 1))],
  );
}

/** −Σ p·ln p = logsumexp(logits) − Σ p·logits. */
function entropySum(logits_RE: tf.Tensor, p_RE: tf.Tensor, { tokenMask_R }: TokenGroups): tf.Scalar {
  return stopGradient(() => {
    const entropy_R = tf.sub(tf.logSumExp(logits_RE, 1), tf.sum(tf.mul(p_RE, logits_RE), 1));
    return tf.sum<tf.Scalar>(tf.mul(entropy_R, tokenMask_R));
  });
}

/** A prime, so that keys spread, and small, so that a key times a fraction keeps eleven binary digits behind the point. */
const KEYS = 8191;
/** The largest sum of token ids that float32 holds exactly. */
const LARGEST_EXACT = 2 ** 24;

/**
 * What the router's input is multiplied by (Switch Transformer, Fedus et al., 2021): numbers from
 * [1 − jitter, 1 + jitter], one per token and channel, so that near ties between experts fall both ways.
 *
 * They are 1 + jitter·(2·frac(key·α) − 1) with a fraction α for every layer and channel, and follow from layer and
 * tokens alone, to the last bit on every engine: a step that is repeated, resumed, recorded, or cut into other
 * microbatches and ranks gets the same noise.
 * @param keys_R as `tokenKeys` gives them
 */
export function jitterNoise(layer: number, keys_R: tf.Tensor, width: number, jitter: number): tf.Tensor {
  return stopGradient(() => {
    const random = Random.of('router jitter', layer);
    const fractions_1D = tf.tensor2d(
      Float32Array.from({ length: width }, () => random.uniform()),
      [1, width],
    );
    const products_RD = tf.mul(tf.expandDims(keys_R, 1), fractions_1D);
    const uniform_RD = tf.sub(products_RD, tf.floor(products_RD));
    return tf.add(tf.mul(uniform_RD, 2 * jitter), 1 - jitter);
  });
}

/**
 * The key of every token's noise: an integer below 8191 that follows from the tokens of its sequence up to it.
 */
export function tokenKeys(tokenIds_BT: tf.Tensor): tf.Tensor {
  const [, length] = sizes(tokenIds_BT, 2);
  const largestStep = Math.min(KEYS, Math.floor(LARGEST_EXACT / length) - 1);
  const steps_BT = tf.add(tf.mod(tf.cast(tokenIds_BT, 'float32'), largestStep), 1);
  return tf.reshape(tf.mod(tf.cumsum(steps_BT, 1), KEYS), [-1]);
}

/** The model as it is evaluated: its routers see no noise. */
export function withoutJitter(model: ModelConfig): ModelConfig {
  const { moe } = model.decoder;
  return moe === null ? model : { ...model, decoder: { ...model.decoder, moe: { ...moe, jitter: 0 } } };
}
