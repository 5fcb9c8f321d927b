// Legend: E experts, C slots of each, G groups of tokens, D width.
import type { RunConfig } from '@weft/config';
import { type ExpertFn, moeLayerIndices, moeShape } from '@weft/model';
import { customGradient, type TensorSpec, tf } from '@weft/tensor';
import type { ForwardPass, RemoteExpertLayers } from './train-task.js';

/** What leaves a phase and enters it at a layer whose experts are remote, in this order. */
export function exchangeNames(layer: number) {
  return {
    /** Out: int32 [E, G], how many rows of every expert and group are tokens. */
    tokensPerExpert: `moe/${layer}/tokensPerExpert`,
    /** Out: [E, C, D], the tokens for the experts. */
    rows: `moe/${layer}/rows`,
    /** In: [E, C, D], the outputs of the experts. */
    outputs: `moe/${layer}/outputs`,
    /** Out: [E, C, D], the gradients of the outputs. */
    outputGradients: `moe/${layer}/outputGradients`,
    /** In: [E, C, D], the gradients of the tokens. */
    rowGradients: `moe/${layer}/rowGradients`,
  } as const;
}

/** The layers of a run with expert workers, and what their passes wait for. */
export function remoteExpertLayers({ model, microbatchSize }: RunConfig): RemoteExpertLayers {
  const { experts, slots } = moeShape(model, microbatchSize);
  const rows: TensorSpec = { shape: [experts, slots, model.decoder.width], dtype: 'float32' };
  const layers = moeLayerIndices(model.decoder);
  const inputs = (...kinds: readonly ('outputs' | 'rowGradients')[]) =>
    Object.fromEntries(layers.flatMap((layer) => kinds.map((kind) => [exchangeNames(layer)[kind], rows])));
  return { layers, rows, trainInputs: inputs('outputs', 'rowGradients'), evaluateInputs: inputs('outputs') };
}

/** Stands for the experts of a layer in the forward pass: their rows leave the phase, their outputs come in later. */
export function remoteExperts({ capture, pendingInput }: ForwardPass): ExpertFn {
  return (layer, rows_ECD, tokensPerExpert_EG) => {
    const names = exchangeNames(layer);
    capture(names.tokensPerExpert, tokensPerExpert_EG);
    capture(names.rows, rows_ECD);
    return customGradient(
      [rows_ECD],
      () => ({ value: tf.clone(pendingInput(names.outputs)), saved: {} }),
      (outputGradients_ECD) => {
        capture(names.outputGradients, outputGradients_ECD);
        return [pendingInput(names.rowGradients)];
      },
    );
  };
}
