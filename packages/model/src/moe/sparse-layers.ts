// Legend: B sequences, T positions, R = B·T tokens of a microbatch, E experts, C slots of an expert, D width.
import type { ModelConfig, MoeConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { type ParameterSpec, weight } from '../parameters.js';
import { sizes } from '../sizes.js';
import { combine, dispatch } from './dispatch.js';
import type { ExpertCall } from './experts.js';
import { jitterNoise, tokenKeys } from './jitter.js';
import { layerSignals } from './layer-signals.js';
import { moeOf, shapeFor } from './moe-shape.js';
import { type Routing, route } from './router.js';
import { type TokenGroups, tokenGroups } from './token-groups.js';

/** The router of one layer, `moe/router` [D, E]; its experts are declared apart. */
export function routerParameters(width: number, { experts }: MoeConfig): readonly ParameterSpec[] {
  return [weight('moe/router', [width, experts])];
}

/** What the MoE layers read of a microbatch; see `batchSpecs`. */
export interface RoutedBatch {
  readonly tokenIds_BT: tf.Tensor;
  /** 0 for padding, which is neither routed nor counted. */
  readonly segmentIds_BT: tf.Tensor;
  readonly lossMask_BT: tf.Tensor;
}

/** The MoE layers of a model on one microbatch: computes them and remembers what their routers cost and did. */
export class SparseLayers {
  readonly #moe: MoeConfig;
  readonly #groups: TokenGroups;
  readonly #keys_R: tf.Tensor | undefined;
  readonly #experts: ExpertCall;
  readonly #routings: Routing[] = [];

  /** @param experts computes the experts, here or elsewhere */
  constructor(model: ModelConfig, { tokenIds_BT, segmentIds_BT, lossMask_BT }: RoutedBatch, experts: ExpertCall) {
    this.#moe = moeOf(model);
    this.#groups = tokenGroups(segmentIds_BT, lossMask_BT, shapeFor(this.#moe, segmentIds_BT.size));
    this.#keys_R = this.#moe.jitter > 0 ? tokenKeys(tokenIds_BT) : undefined;
    this.#experts = experts;
  }

  /** What stands in place of a layer's dense feed-forward: [R, D] → [R, D], 0 for padding and for dropped tokens. */
  feedForward(layer: number, x_RD: tf.Tensor, router_DE: tf.Tensor): tf.Tensor {
    const { experts, slots } = this.#groups.shape;
    const [, width] = sizes(x_RD, 2);
    const seen_RD =
      this.#keys_R === undefined ? x_RD : tf.mul(x_RD, jitterNoise(layer, this.#keys_R, width, this.#moe.jitter));
    const routing = route(seen_RD, router_DE, this.#groups);
    this.#routings.push(routing);
    const { placement, gates_2R } = routing;
    const tokens_ECD = tf.reshape(dispatch(x_RD, placement), [experts, slots, width]);
    const y_ECD = this.#experts(layer, tokens_ECD as tf.Tensor3D, placement.filled_EG as tf.Tensor2D);
    return combine(tf.reshape(y_ECD, [experts * slots, width]), gates_2R, placement);
  }

  /**
   * What the routers add to the loss of the microbatch: the weighed load-balance and z-losses, as their mean over the
   * MoE layers, times the number of text targets. The trainer divides the sum over all microbatches and ranks by the
   * number of targets in the step; what remains is the mean over groups, each weighed by its text targets, and does
   * not depend on how the step was cut into microbatches and ranks (except that these cut groups).
   */
  auxiliaryLoss(): tf.Scalar {
    const { loadBalanceWeight, routerZWeight } = this.#moe;
    const perLayer = this.#routings.map(({ loadBalance, zLoss }) =>
      tf.add(tf.mul(loadBalance, loadBalanceWeight), tf.mul(zLoss, routerZWeight)),
    );
    return tf.mul(tf.addN(perLayer), 1 / perLayer.length);
  }

  /** What happened, in the flat layout that `decodeMoeSignals` reads; sums, so that microbatches and ranks add up. */
  signals(): tf.Tensor1D {
    return tf.concat1d(this.#routings.map((routing) => layerSignals(routing, this.#groups)));
  }
}
