// Legend: B sequences, T positions, R = B·T rows, D width, V vocabulary.
import { createExecutor, type Program, sparseSoftmaxCrossEntropy, type TensorSpec, tf } from '@weft/engine';
import { decoder, decoderParameters, takeRows } from '@weft/model';
import { adamwApply, adamwState, clipScale, globalNorm } from '@weft/optim';
import { type Contestant, type ContestantParts, executorOptions } from './contestant.js';
import { loadBatch, loadWeights } from './load-fixture.js';
import type { BenchModel } from './models.js';
import { OPTIMIZER } from './optimizer.js';

/** The decoder alone, trained in one process: forward, backward, clipping and AdamW are one phase. */
export async function openDecoder(parts: ContestantParts): Promise<Contestant> {
  const { spec } = parts;
  await parts.meet(undefined);
  const program = decoderProgram(spec.model);
  const executor = createExecutor(program, executorOptions(parts));
  await loadWeights(executor, program, spec.fixture);
  const batch = await loadBatch(spec.fixture, spec.rank);
  let step = 0;
  return {
    engine: executor.description,
    step: async () => {
      step += 1;
      const { loss } = await executor.run('step', { ...batch, step: Float32Array.of(step) });
      const value = loss?.data[0] ?? Number.NaN;
      loss?.dispose();
      return value;
    },
    close: () => executor.dispose(),
  };
}

function decoderProgram({ name, batchSize, sequenceLength, decoder: config }: BenchModel): Program {
  const parameters = decoderParameters(config);
  const perPosition: TensorSpec = { shape: [batchSize, sequenceLength], dtype: 'int32' };
  const weights = Object.fromEntries(parameters.map(({ name, shape }) => [name, { shape, dtype: 'float32' } as const]));
  return {
    name,
    state: { ...weights, ...adamwState(parameters) },
    phases: {
      step: {
        inputs: {
          tokenIds_BT: perPosition,
          targetIds_BT: perPosition,
          segmentIds_BT: perPosition,
          positions_BT: perPosition,
          step: { shape: [], dtype: 'float32' },
        },
        run: (context) => {
          const targets_R = tf.reshape<tf.Rank.R1>(context.input('targetIds_BT'), [batchSize * sequenceLength]);
          const meanLoss = (...values: tf.Tensor[]) => {
            const byName = new Map(parameters.map(({ name }, i) => [name, values[i] as tf.Tensor]));
            const parameter = (name: string) => byName.get(name) as tf.Tensor;
            const x_RD = takeRows(parameter('embedding'), context.input('tokenIds_BT'));
            const places = [context.input('segmentIds_BT'), context.input('positions_BT')] as const;
            const logits_RV = decoder(x_RD, parameter, config, ...places);
            return tf.mean<tf.Scalar>(sparseSoftmaxCrossEntropy(logits_RV, targets_R));
          };
          const { value, grads } = tf.valueAndGrads(meanLoss)(parameters.map(({ name }) => context.read(name)));
          const clip = clipScale(globalNorm(grads), OPTIMIZER.clipNorm);
          const gradient = new Map(parameters.map(({ name }, i) => [name, tf.mul(grads[i] as tf.Tensor, clip)]));
          const clipped = (name: string) => gradient.get(name) as tf.Tensor;
          const step = context.input('step') as tf.Scalar;
          adamwApply(context, OPTIMIZER, parameters, clipped, step, tf.scalar(1));
          return { loss: value };
        },
      },
    },
  };
}
