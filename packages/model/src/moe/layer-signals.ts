// Legend: G groups, E experts.
import { tf } from '@weft/tensor';
import type { Routing } from './router.js';
import type { TokenGroups } from './token-groups.js';

/**
 * One layer's part of the signals: E numbers of choices routed to every expert before drops, E of choices dropped,
 * then the count of tokens, the sum of their routers' entropies, and the sums of load-balance and z-loss over text
 * targets. All are sums.
 */
export function layerSignals({ placement, entropy, loadBalance, zLoss }: Routing, { count }: TokenGroups): tf.Tensor1D {
  const routed_E = tf.sum(placement.routed_2GE, [0, 1]);
  const filled_E = tf.sum(tf.cast(placement.filled_EG, 'float32'), 1);
  const scalars = tf.stack([count, entropy, loadBalance, zLoss]);
  return tf.concat1d([routed_E, tf.sub(routed_E, filled_E), scalars] as tf.Tensor1D[]);
}
