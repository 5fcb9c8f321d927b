// Legend: N images, P grid positions (G a side), I input channels, O output channels.
import { tf } from '@weft/tensor';
import { layerNorm, layerNormParameters } from './layer-norm.js';
import { type ParameterSpec, type Parameters, under, weight, within } from './parameters.js';
import { sizes } from './sizes.js';
import { squeezeExcitation, squeezeExcitationParameters } from './squeeze-excitation.js';
import { silu } from './swiglu.js';

/** Channels kept inside squeeze-and-excitation, as a part of the block's input channels. */
const SQUEEZE_RATIO = 0.25;
/** As in timm's LayerNorm2d. */
const NORM_EPSILON = 1e-6;

/** `depth` blocks; the first changes the channels from `input` to `output`. */
export function regStageParameters(input: number, output: number, depth: number): readonly ParameterSpec[] {
  return Array.from({ length: depth }, (_, i) =>
    under(`blocks/${i}`, blockParameters(i === 0 ? input : output, output)),
  ).flat();
}

/**
 * A stage of RegNet blocks without stride (Radosavovic et al., 2020) as Honeybee's C-Abstractor uses them:
 * [N, P, I] → [N, P, O] on a square grid.
 */
export function regStage(x_NPI: tf.Tensor, p: Parameters, output: number, depth: number): tf.Tensor {
  let x = x_NPI;
  for (let i = 0; i < depth; i++) x = block(x, within(p, `blocks/${i}`), output);
  return x;
}

function blockParameters(input: number, output: number): readonly ParameterSpec[] {
  const squeezed = Math.max(1, Math.round(input * SQUEEZE_RATIO));
  return [
    ...under('enter', pointwiseParameters(input, output)),
    weight('depthwise/kernel', [3, 3, output, 1]),
    ...under('depthwise/norm', layerNormParameters(output)),
    ...under('gate', squeezeExcitationParameters(output, squeezed)),
    ...under('leave', pointwiseParameters(output, output)),
    ...(input === output ? [] : under('shortcut', pointwiseParameters(input, output))),
  ];
}

/** 1×1 conv, 3×3 depthwise conv, squeeze-and-excitation, 1×1 conv; each conv normalised; around them a shortcut. */
function block(x_NPI: tf.Tensor, p: Parameters, output: number): tf.Tensor {
  const [, , input] = sizes(x_NPI, 3);
  const entered_NPO = silu(pointwise(x_NPI, within(p, 'enter')));
  const mixed_NPO = silu(depthwise(entered_NPO, within(p, 'depthwise')));
  const gated_NPO = squeezeExcitation(mixed_NPO, within(p, 'gate'));
  const left_NPO = pointwise(gated_NPO, within(p, 'leave'));
  const shortcut_NPO = input === output ? x_NPI : pointwise(x_NPI, within(p, 'shortcut'));
  return silu(tf.add(left_NPO, shortcut_NPO));
}

function pointwiseParameters(input: number, output: number): readonly ParameterSpec[] {
  return [weight('kernel', [input, output]), ...under('norm', layerNormParameters(output))];
}

/** A 1×1 convolution is a linear map of the channels; then LayerNorm over them. */
function pointwise(x_NPI: tf.Tensor, p: Parameters): tf.Tensor {
  const [count, positions, input] = sizes(x_NPI, 3);
  const y_RO = tf.matMul(tf.reshape(x_NPI, [count * positions, input]), p('kernel'));
  return tf.reshape(layerNorm(y_RO, within(p, 'norm'), NORM_EPSILON), [count, positions, -1]);
}

/** Every channel convolved with its own 3×3 kernel, zeros beyond the border; then LayerNorm over the channels. */
function depthwise(x_NPO: tf.Tensor, p: Parameters): tf.Tensor {
  const [count, positions, channels] = sizes(x_NPO, 3);
  const side = Math.sqrt(positions);
  const x_NGGO = tf.reshape<tf.Rank.R4>(x_NPO, [count, side, side, channels]);
  const kernel = tf.reshape<tf.Rank.R4>(p('kernel'), [3, 3, channels, 1]);
  const y_NGGO = tf.depthwiseConv2d(x_NGGO, kernel, 1, 'same');
  return tf.reshape(layerNorm(y_NGGO, within(p, 'norm'), NORM_EPSILON), [count, positions, channels]);
}
