// Legend: B sequences, T positions, R = B·T tokens of a microbatch, E experts, C slots of an expert, D width.
import type { ModelConfig, MoeConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import type { Batch } from '../batch.js';
import { sizes } from '../ops.js';
import { type ParameterSpec, weight } from '../parameters.js';
import { combine, dispatch } from './dispatch.js';
import { ROUTER } from './expert-checkpoint-names.js';
import type { ExpertFn } from './experts.js';
import { requireMoe, shapeFor, type TokenGroups, tokenGroups } from './moe-shape.js';
import { encodeLayerStats } from './moe-stats.js';
import { jitterNoise, type Routing, route, tokenKeys } from './router.js';

/** The router of one layer, [D, E]; its experts are declared by `expertStacks`. */
export function routerParameters(width: number, { experts }: MoeConfig): readonly ParameterSpec[] {
  return [weight(ROUTER, [width, experts], ['embed', null])];
}

/**
 * The MoE layers of a model on one microbatch: computes them, and collects what their routers cost and did.
 * One object per microbatch, because the auxiliary loss and the stats are made of all layers together.
 */
export class MoeLayers {
  readonly #moe: MoeConfig;
  readonly #groups: TokenGroups;
  readonly #keys_R: tf.Tensor | undefined;
  readonly #experts: ExpertFn;
  readonly #routings: Routing[] = [];

  /** @param experts computes the experts, in this process or another */
  constructor(
    model: ModelConfig,
    { tokenIds_BT, segmentIds_BT, lossMask_BT }: Pick<Batch, 'tokenIds_BT' | 'segmentIds_BT' | 'lossMask_BT'>,
    experts: ExpertFn,
  ) {
    this.#moe = requireMoe(model);
    this.#groups = tokenGroups(segmentIds_BT, lossMask_BT, shapeFor(this.#moe, segmentIds_BT.size));
    this.#keys_R = this.#moe.jitter > 0 ? tokenKeys(tokenIds_BT) : undefined;
    this.#experts = experts;
  }

  /**
   * Replaces a layer's dense feed-forward: [R, D] → [R, D]. Padding and dropped tokens get 0, so they pass the layer
   * through the residual stream alone.
   */
  feedForward(layer: number, x_RD: tf.Tensor, router_DE: tf.Tensor): tf.Tensor {
    const { experts, slots } = this.#groups.shape;
    const [, width] = sizes(x_RD, 2);
    // 1. The router assigns every token to two experts. Noise goes to the router only; the experts read clean tokens.
    const routerInput_RD =
      this.#keys_R === undefined ? x_RD : tf.mul(x_RD, jitterNoise(layer, this.#keys_R, width, this.#moe.jitter));
    const routing = route(routerInput_RD, router_DE, this.#groups);
    this.#routings.push(routing);
    const { assignment, gates_2R } = routing;
    // 2. Tokens go to their experts' slots, 3. the experts compute, 4. outputs come back, weighted by the gates.
    const tokens_ECD = tf.reshape(dispatch(x_RD, assignment), [experts, slots, width]);
    const y_ECD = this.#experts(layer, tokens_ECD, assignment.tokensPerExpert_EG);
    return combine(tf.reshape(y_ECD, [experts * slots, width]), gates_2R, assignment);
  }

  /**
   * What the routers add to the loss of the microbatch: the weighted load-balance and z-losses, as their mean over the
   * MoE layers, times the number of text targets. Training divides the sum over all microbatches and ranks by the
   * number of targets in the step. What remains is the mean over groups, each weighted by its text targets; it does
   * not depend on how the step was cut into microbatches and ranks, as long as the groups are the same.
   */
  auxiliaryLoss(): tf.Scalar {
    const { loadBalanceWeight, routerZWeight } = this.#moe;
    const perLayer = this.#routings.map(({ loadBalance, zLoss }) =>
      tf.add(tf.mul(loadBalance, loadBalanceWeight), tf.mul(zLoss, routerZWeight)),
    );
    return tf.mul(tf.addN(perLayer), 1 / perLayer.length);
  }

  /** What the routers did, in the flat layout that `decodeMoeStats` reads. */
  stats(): tf.Tensor {
    return tf.concat(this.#routings.map((routing) => encodeLayerStats(routing, this.#groups)));
  }
}
