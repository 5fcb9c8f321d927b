// Legend: R tokens, D width, E experts, F feed-forward width.
import { type Program, type TensorSpec, tf } from '@weft/engine';
import { type ExpertWeights, expertForward, SparseLayers } from '@weft/model';
import { type LayerSize, modelWith } from './layer-case.js';

/** What the layer is differentiated by, in this order. */
export const DIFFERENTIATED = ['input', 'router', 'gate', 'up', 'down'] as const;

/** The shapes of everything a fixture holds: the layer's input and weights, and the direction of its gradient. */
export function layerShapes({ tokens, width, hidden, experts }: LayerSize) {
  return {
    input: [tokens, width],
    router: [width, experts],
    gate: [experts, width, hidden],
    up: [experts, width, hidden],
    down: [experts, hidden, width],
    direction: [tokens, width],
  } as const;
}

/** One MoE layer, forwards and backwards; its output and gradients stay in the engine, as they would in training. */
export function layerProgram(size: LayerSize): Program {
  const model = modelWith(size);
  const float = (shape: readonly number[]): TensorSpec => ({ shape, dtype: 'float32' });
  const shapes = layerShapes(size);
  const resident = Object.entries(shapes).map(([name, shape]) => [name, float(shape)] as const);
  const results = DIFFERENTIATED.map((name) => [`gradient/${name}`, float(shapes[name])] as const);
  return {
    name: size.name,
    state: Object.fromEntries([...resident, ...results, ['output', float(shapes.input)]]),
    phases: {
      step: {
        inputs: {},
        run: ({ read, assign }) => {
          const lossMask_BT = tf.ones([1, size.tokens]);
          const ids_BT = tf.cast(lossMask_BT, 'int32');
          const batch = { tokenIds_BT: ids_BT, segmentIds_BT: ids_BT, lossMask_BT };
          const layer = (...[x_RD, router_DE, gate_EDF, up_EDF, down_EFD]: tf.Tensor[]) => {
            const weights = { gate_EDF, up_EDF, down_EFD } as ExpertWeights;
            const sparse = new SparseLayers(model, batch, (_, tokens_ECD) => expertForward(weights, tokens_ECD));
            const output_RD = sparse.feedForward(0, x_RD as tf.Tensor, router_DE as tf.Tensor);
            assign('output', tf.keep(output_RD));
            return tf.add(tf.sum(tf.mul(output_RD, read('direction'))), sparse.auxiliaryLoss()) as tf.Scalar;
          };
          const { value, grads } = tf.valueAndGrads(layer)(DIFFERENTIATED.map((name) => read(name)));
          DIFFERENTIATED.forEach((name, i) => {
            assign(`gradient/${name}`, grads[i] as tf.Tensor);
          });
          return { objective: value };
        },
      },
    },
  };
}
