// Legend: R = G·S tokens of a microbatch, G groups, S tokens of a group, E experts, 2 choices of every token, D width.
import { preciseMatMul, tf } from '@weft/tensor';
import { notDifferentiated } from '../not-differentiated.js';
import { withGradient } from '../with-gradient.js';
import { type Placement, place } from './placement.js';
import type { TokenGroups } from './token-groups.js';

/** What the router of one layer decided, and what that costs. */
export interface Routing {
  readonly placement: Placement;
  /** The weight of every choice in its token's result; 0 where it was dropped. Differentiable. */
  readonly gates_2R: tf.Tensor;
  /** The load-balance loss, summed over text targets. Differentiable. */
  readonly loadBalance: tf.Scalar;
  /** The router's z-loss, summed over text targets. Differentiable. */
  readonly zLoss: tf.Scalar;
  /** The entropy of the router's distributions in nats, summed over tokens. */
  readonly entropy: tf.Scalar;
}

/** Keeps the gates of a token whose probabilities vanish finite, as AXLearn does. */
const GATE_EPSILON = 1e-9;

/**
 * Top-2 routing (Lepikhin et al., 2020, as AXLearn's Top2Gating does it), in float32 whatever the run's precision:
 * p = softmax(x·router); a token's experts are the two of the largest p, the lower number first where they are
 * equal; their gates are p₁/(p₁ + p₂ + ε) and p₂/(p₁ + p₂ + ε), and only then are choices beyond the capacity dropped.
 * @param x_RD what the router reads, one row per token
 * @param router_DE its weights
 */
export function route(x_RD: tf.Tensor, router_DE: tf.Tensor, groups: TokenGroups): Routing {
  const logits_RE = preciseMatMul(x_RD, router_DE);
  const p_RE = tf.softmax(logits_RE);
  const expert_2R = notDifferentiated(() => tf.transpose(tf.cast(tf.topk(p_RE, 2).indices, 'float32')));
  const placement = place(expert_2R, groups);
  return {
    placement,
    gates_2R: tf.mul(gates(p_RE, placement), placement.kept_2R),
    loadBalance: loadBalanceLoss(p_RE, placement, groups),
    zLoss: zLoss(logits_RE, p_RE, groups),
    entropy: entropySum(logits_RE, p_RE, groups),
  };
}

function gates(p_RE: tf.Tensor, { marks_2RE }: Placement): tf.Tensor {
  const chosen_2R = tf.sum(tf.mul(p_RE, marks_2RE), 2);
  return tf.div(chosen_2R, tf.add(tf.sum(chosen_2R, 0, true), GATE_EPSILON));
}

/**
 * E²·mean over experts of density · mean p, for every group, where density is the share of tokens whose *first* choice
 * the expert is, before drops: 1 when the load is even. No gradient flows through the density.
 */
function loadBalanceLoss(p_RE: tf.Tensor, { routed_2GE }: Placement, { shape, size_G, share_R }: TokenGroups) {
  const { experts, groups, groupSize } = shape;
  const first_GE = tf.squeeze(tf.slice(routed_2GE, 0, 1), [0]);
  const density_G1E = tf.expandDims(tf.div(first_GE, tf.expandDims(size_G, 1)), 1);
  const weight_GSE = tf.mul(tf.reshape(share_R, [groups, groupSize, 1]), tf.mul(density_G1E, experts));
  return tf.sum(tf.mul(tf.reshape(p_RE, [groups, groupSize, experts]), weight_GSE)) as tf.Scalar;
}

/** The mean of logsumexp(logits)² over the tokens of every group (ST-MoE, Zoph et al., 2022). */
function zLoss(logits_RE: tf.Tensor, p_RE: tf.Tensor, { share_R }: TokenGroups): tf.Scalar {
  return withGradient(
    [logits_RE],
    () => {
      const logSum_R = tf.logSumExp(logits_RE, 1);
      const weighted_R = tf.mul(share_R, logSum_R);
      return { value: tf.sum(tf.mul(weighted_R, logSum_R)), saved: { weighted_R, p_RE } };
    },
    (dLoss, saved) => [tf.mul(saved.p_RE, tf.expandDims(tf.mul(saved.weighted_R, tf.mul(dLoss, 2)), 1))],
  ) as tf.Scalar;
}

/** −Σ p·ln p = logsumexp(logits) − Σ p·logits. */
function entropySum(logits_RE: tf.Tensor, p_RE: tf.Tensor, { live_R }: TokenGroups): tf.Scalar {
  return notDifferentiated(() => {
    const entropy_R = tf.sub(tf.logSumExp(logits_RE, 1), tf.sum(tf.mul(p_RE, logits_RE), 1));
    return tf.sum(tf.mul(entropy_R, live_R));
  }) as tf.Scalar;
}
