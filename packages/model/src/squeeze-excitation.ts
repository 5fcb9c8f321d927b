// Legend: N images, P grid positions, C channels, S squeezed channels.
import { tf } from '@weft/tensor';
import { linear, linearParameters } from './linear.js';
import { type ParameterSpec, type Parameters, under, within } from './parameters.js';
import { poolGrid } from './pool-grid.js';
import { sizes } from './sizes.js';
import { silu } from './swiglu.js';

export function squeezeExcitationParameters(channels: number, squeezed: number): readonly ParameterSpec[] {
  return [
    ...under('squeeze', linearParameters(channels, squeezed)),
    ...under('excite', linearParameters(squeezed, channels)),
  ];
}

/**
 * Squeeze-and-excitation (Hu et al., 2018): every channel is scaled by a sigmoid gate computed from all channels'
 * means over the grid; SiLU inside, as in Honeybee's RegStage. [N, P, C] → [N, P, C].
 */
export function squeezeExcitation(x_NPC: tf.Tensor, p: Parameters): tf.Tensor {
  const [count, , channels] = sizes(x_NPC, 3);
  const means_NC = tf.reshape(poolGrid(x_NPC, 1), [count, channels]);
  const gates_NC = tf.sigmoid(linear(silu(linear(means_NC, within(p, 'squeeze'))), within(p, 'excite')));
  return tf.mul(x_NPC, tf.reshape(gates_NC, [count, 1, channels]));
}
