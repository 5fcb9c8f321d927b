// Legend: E experts, C slots of each, G groups of tokens, D width.
import type { RunConfig } from '@weft/config';
import { type PhaseContext, type TensorSpec, tf } from '@weft/engine';
import { type ExpertCall, moeLayers, moeShape } from '@weft/model';
import type { Beside } from '../beside.js';

/** What a layer whose experts live elsewhere gives out of the phase and gets into it, in this order. */
export function exchangeNames(layer: number) {
  return {
    /** Out: int32 [E, G], how many rows of every expert and group are tokens. */
    filled: `moe/${layer}/filled`,
    /** Out: [E, C, D], the tokens for the experts. */
    rows: `moe/${layer}/rows`,
    /** In: [E, C, D], what the experts made of them. */
    outputs: `moe/${layer}/outputs`,
    /** Out: [E, C, D], the gradients of that. */
    outputGradients: `moe/${layer}/outputGradients`,
    /** In: [E, C, D], the gradients of the tokens. */
    rowGradients: `moe/${layer}/rowGradients`,
  } as const;
}

/** The late inputs of a phase whose experts live elsewhere: on both ways, or of one that goes forwards only. */
export function remoteInputs(
  { model, microbatchSize }: RunConfig,
  kinds: readonly ('outputs' | 'rowGradients')[] = ['outputs', 'rowGradients'],
): Readonly<Record<string, TensorSpec>> {
  const { experts, slots } = moeShape(model, microbatchSize);
  const rows: TensorSpec = { shape: [experts, slots, model.decoder.width], dtype: 'float32' };
  const ofLayer = (layer: number) => {
    const names = exchangeNames(layer);
    return kinds.map((kind) => [names[kind], rows] as const);
  };
  return Object.fromEntries(moeLayers(model.decoder).flatMap(ofLayer));
}

/** Experts that live elsewhere: a layer's rows leave the phase, and their results come in late. */
export function remoteExperts(context: PhaseContext, beside: Beside): ExpertCall {
  return (layer, rows_ECD, filled_EG) => {
    const names = exchangeNames(layer);
    beside.keep(names.filled, filled_EG);
    beside.keep(names.rows, rows_ECD);
    const call = tf.customGrad(() => ({
      value: tf.clone(context.input(names.outputs)),
      gradFunc: (outputGradients_ECD) => {
        beside.keep(names.outputGradients, outputGradients_ECD);
        return [context.input(names.rowGradients)];
      },
    }));
    return call(rows_ECD) as tf.Tensor3D;
  };
}
