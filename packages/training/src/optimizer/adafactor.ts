import { OPTIMIZER_PREFIXES, type OptimizerConfig } from '@weft/config';
import { type PhaseContext, tf } from '@weft/tensor';
import type { OptimizedParameter, OptimizerStep } from './adamw.js';

/** The settings that the update reads. */
export type AdafactorSettings = Pick<OptimizerConfig, 'learningRate' | 'weightDecay' | 'adafactor'>;

/**
 * One step of AdaFactor (Shazeer and Stern, 2018) without momentum and with a given learning rate, g the scaled gradient:
 *
 *     G = g² + ε,   β = 1 − t^−d
 *     R ← β·R + (1 − β)·mean of G over its last axis,   C ← β·C + (1 − β)·mean of G over the last but one
 *     V = R·C / mean of R;   of a vector V ← β·V + (1 − β)·G
 *     U = g / √V,   U ← U / max(1, RMS(U) / clipThreshold)
 *     p ← p − s(t)·( η·U + λ·p ),   η times max(RMS(p), smallestScale) where `scaleByParameter` says so
 *
 * Axes before the last two are a batch of matrices. A stack of experts is clipped and scaled expert by expert, so that an
 * update does not depend on which process holds which expert; any other array as a whole. Weight decay is decoupled from η
 * as in `adamwApply`.
 */
export function adafactorApply(
  context: PhaseContext,
  config: AdafactorSettings,
  parameters: readonly OptimizedParameter[],
  { gradient, gradientScale, step, factor }: OptimizerStep,
): void {
  const { learningRate, weightDecay, adafactor } = config;
  const { decayExponent, clipThreshold, epsilon, scaleByParameter, smallestScale } = adafactor;
  const fresh = tf.pow(step, -decayExponent);
  const blended = (name: string, value: tf.Tensor) => {
    const moment = tf.add(tf.mul(context.read(name), tf.sub(1, fresh)), tf.mul(value, fresh));
    context.assign(name, moment);
    return moment;
  };

  for (const {
    name,
    shape,
    weightDecay: decays,
    learningRateFactor: own = 1,
    isStack = false,
    maximum,
  } of parameters) {
    const rank = shape.length;
    const ownAxes = shape.map((_, axis) => axis).slice(isStack ? 1 : 0);
    const parameter = context.read(name);
    const g = tf.mul(gradient(name), gradientScale);
    const square = tf.add(tf.square(g), epsilon);
    let update: tf.Tensor;
    if (rank < 2) {
      update = tf.mul(g, tf.rsqrt(blended(`${OPTIMIZER_PREFIXES.vector}/${name}`, square)));
    } else {
      const row = blended(`${OPTIMIZER_PREFIXES.row}/${name}`, meanOver(square, [rank - 1], shape));
      const column = blended(`${OPTIMIZER_PREFIXES.column}/${name}`, meanOver(square, [rank - 2], shape));
      const rowShape = shape.slice(0, -1);
      const relative = tf.div(row, tf.reshape(meanOver(row, [rank - 2], rowShape), [...rowShape.slice(0, -1), 1]));
      const byRow = tf.reshape(tf.rsqrt(relative), [...rowShape, 1]);
      const byColumn = tf.reshape(tf.rsqrt(column), [...shape.slice(0, -2), 1, shape[rank - 1] ?? 1]);
      update = tf.mul(tf.mul(g, byRow), byColumn);
    }
    const tooLarge = tf.maximum(tf.mul(rootMeanSquare(update, ownAxes, shape), 1 / clipThreshold), 1);
    const rate = tf.mul(factor, learningRate * own);
    const scaled = scaleByParameter
      ? tf.mul(rate, tf.maximum(rootMeanSquare(parameter, ownAxes, shape), smallestScale))
      : rate;
    const kept = decays ? tf.mul(parameter, tf.sub(1, tf.mul(factor, weightDecay * own))) : parameter;
    const updated = tf.sub(kept, tf.mul(update, tf.div(scaled, tooLarge)));
    context.assign(name, maximum === undefined ? updated : tf.minimum(updated, maximum));
  }
}

/** The mean over some axes, which are then gone. */
function meanOver(x: tf.Tensor, axes: readonly number[], shape: readonly number[]): tf.Tensor {
  if (axes.length === 0) return x;
  const count = axes.reduce((product, axis) => product * (shape[axis] ?? 1), 1);
  return tf.mul(tf.sum(x, [...axes]), 1 / count);
}

/** With 1 in the place of each axis it is taken over. */
function rootMeanSquare(x: tf.Tensor, axes: readonly number[], shape: readonly number[]): tf.Tensor {
  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  return tf.reshape(tf.sqrt(meanOver(tf.square(x), axes, shape)), kept);
}
