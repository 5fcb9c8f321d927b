// Legend: N images, P grid positions (G a side), R = N·P rows, I input channels, O output channels, C channels.
import { tf } from '@weft/tensor';
import { layerNorm, layerNormParameters } from './norms.js';
import { linear, linearParameters, poolGrid, silu, sizes } from './ops.js';
import { type ParameterSpec, type Parameters, prefix, scope, weight } from './parameters.js';

/** Channels inside squeeze-and-excitation, as a part of the block's input channels (RegNetY). */
const SQUEEZE_RATIO = 0.25;
/** What timm's LayerNorm2d gets inside a RegStage. */
const NORM_EPSILON = 1e-5;

/** The parameters of `regStage`: `depth` blocks; the first changes the channels from `input` to `output`. */
export function regStageParameters(input: number, output: number, depth: number): readonly ParameterSpec[] {
  return Array.from({ length: depth }, (_, i) =>
    prefix(`blocks/${i}`, blockParameters(i === 0 ? input : output, output)),
  ).flat();
}

/**
 * A stage of RegNet blocks without stride (Radosavovic et al., 2020) as Honeybee's C-Abstractor uses them:
 * [N, P, I] → [N, P, O] on a square grid.
 */
export function regStage(x_NPI: tf.Tensor, p: Parameters, output: number, depth: number): tf.Tensor {
  let x = x_NPI;
  for (let i = 0; i < depth; i++) x = block(x, scope(p, `blocks/${i}`), output);
  return x;
}

function blockParameters(input: number, output: number): readonly ParameterSpec[] {
  const squeezed = Math.max(1, Math.round(input * SQUEEZE_RATIO));
  return [
    ...prefix('enter', pointwiseParameters(input, output)),
    weight('depthwise/kernel', [3, 3, output, 1], [null, null, null, null]),
    ...prefix('depthwise/norm', layerNormParameters(output)),
    ...prefix('gate', squeezeExcitationParameters(output, squeezed)),
    ...prefix('leave', pointwiseParameters(output, output)),
    ...(input === output ? [] : prefix('shortcut', pointwiseParameters(input, output))),
  ];
}

/** 1×1 conv, 3×3 depthwise conv, squeeze-and-excitation, 1×1 conv; each conv normalised; around them a shortcut. */
function block(x_NPI: tf.Tensor, p: Parameters, output: number): tf.Tensor {
  const [, , input] = sizes(x_NPI, 3);
  const entered_NPO = silu(pointwise(x_NPI, scope(p, 'enter')));
  // The only op of the block in which neighbours meet; the 1×1 convolutions mix channels.
  const mixed_NPO = silu(depthwise(entered_NPO, scope(p, 'depthwise')));
  const excited_NPO = squeezeExcitation(mixed_NPO, scope(p, 'gate'));
  const left_NPO = pointwise(excited_NPO, scope(p, 'leave'));
  const shortcut_NPO = input === output ? x_NPI : pointwise(x_NPI, scope(p, 'shortcut'));
  return silu(tf.add(left_NPO, shortcut_NPO));
}

function pointwiseParameters(input: number, output: number): readonly ParameterSpec[] {
  return [weight('kernel', [input, output], ['embed', null]), ...prefix('norm', layerNormParameters(output))];
}

/** A 1×1 convolution, which is a linear map of the channels; then LayerNorm over them. */
function pointwise(x_NPI: tf.Tensor, p: Parameters): tf.Tensor {
  const [count, positions, input] = sizes(x_NPI, 3);
  const y_RO = tf.matMul(tf.reshape(x_NPI, [count * positions, input]), p('kernel'));
  return tf.reshape(layerNorm(y_RO, scope(p, 'norm'), NORM_EPSILON), [count, positions, -1]);
}

/** Every channel convolved with its own 3×3 kernel, zeros beyond the border; then LayerNorm over the channels. */
function depthwise(x_NPO: tf.Tensor, p: Parameters): tf.Tensor {
  const [count, positions, channels] = sizes(x_NPO, 3);
  const side = Math.sqrt(positions);
  const x_NGGO = tf.reshape<tf.Rank.R4>(x_NPO, [count, side, side, channels]);
  const kernel = tf.reshape<tf.Rank.R4>(p('kernel'), [3, 3, channels, 1]);
  const y_NGGO = tf.depthwiseConv2d(x_NGGO, kernel, 1, 'same');
  return tf.reshape(layerNorm(y_NGGO, scope(p, 'norm'), NORM_EPSILON), [count, positions, channels]);
}

/** The parameters of `squeezeExcitation`. */
export function squeezeExcitationParameters(channels: number, squeezed: number): readonly ParameterSpec[] {
  return [
    ...prefix('squeeze', linearParameters(channels, squeezed, ['embed', null])),
    ...prefix('excite', linearParameters(squeezed, channels, [null, 'embed'])),
  ];
}

/**
 * Squeeze-and-excitation (Hu et al., 2018): every channel is scaled by a factor in (0, 1) that is computed from the
 * means of all channels over the grid, so the whole image decides which channels count. SiLU inside, as in Honeybee's
 * RegStage. [N, P, C] → [N, P, C].
 */
export function squeezeExcitation(x_NPC: tf.Tensor, p: Parameters): tf.Tensor {
  const [count, , channels] = sizes(x_NPC, 3);
  const means_NC = tf.reshape(poolGrid(x_NPC, 1), [count, channels]);
  const factors_NC = tf.sigmoid(linear(silu(linear(means_NC, scope(p, 'squeeze'))), scope(p, 'excite')));
  return tf.mul(x_NPC, tf.reshape(factors_NC, [count, 1, channels]));
}
