import {
  createExecutor,
  type PhaseContext,
  type Program,
  sparseSoftmaxCrossEntropy,
  type TensorSpec,
  tf,
} from '@weft/engine';
import { decoder, decoderParameters, takeRows } from '@weft/model';
import {
  adamwApply,
  adamwState,
  clipScale,
  globalNorm,
  intoBuckets,
  stepProgram,
  type TrainProgram,
} from '@weft/training';
import { type Candidate, type CandidateParts, executorOptions } from './candidate.js';
import { loadBatch, loadWeights } from './fixture.js';
import { type BenchModel, OPTIMIZER } from './models.js';

/** The decoder alone in one process. */
export async function openDecoder(parts: CandidateParts): Promise<Candidate> {
  const { spec } = parts;
  await parts.exchangeAddresses(undefined);
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

// Legend: B sequences, T positions, R = B·T rows, D width, V vocabulary.

/** The decoder alone, trained in one process: forward, backward, clipping and AdamW are one phase, `step`. */
export function decoderProgram(model: BenchModel): Program {
  const parameters = decoderParameters(model.decoder);
  const weights = Object.fromEntries(parameters.map(({ name, shape }) => [name, { shape, dtype: 'float32' } as const]));
  return {
    name: model.name,
    state: { ...weights, ...adamwState(parameters) },
    phases: {
      step: {
        inputs: { ...batchOf(model), step: { shape: [], dtype: 'float32' } },
        run: (context) => {
          const { value, grads } = lossAndGradients(model, context, tf.mean);
          adamwApply(context, OPTIMIZER, parameters, {
            gradient: (name) => grads[name] as tf.Tensor,
            gradientScale: clipScale(globalNorm(Object.values(grads)), OPTIMIZER.clipNorm),
            step: context.input('step') as tf.Scalar,
            factor: tf.scalar(1),
          });
          return { loss: value };
        },
      },
    },
  };
}

/** The decoder alone as the trainer's own step trains it: gradients in buckets, all-reduced between the phases. */
export function dataParallelDecoderProgram(model: BenchModel): TrainProgram {
  const targets = model.batchSize * model.sequenceLength;
  return stepProgram({
    name: model.name,
    parameters: decoderParameters(model.decoder),
    batch: batchOf(model),
    gradients: (context, buckets) => {
      const { value, grads } = lossAndGradients(model, context, tf.sum);
      const totals = [tf.reshape<tf.Rank.R1>(value, [1]), tf.tensor1d([targets])];
      return intoBuckets(buckets, (name) => grads[name] as tf.Tensor, totals);
    },
    optimizer: OPTIMIZER,
    steps: 1,
  });
}

function batchOf({ batchSize, sequenceLength }: BenchModel): Readonly<Record<string, TensorSpec>> {
  const perPosition: TensorSpec = { shape: [batchSize, sequenceLength], dtype: 'int32' };
  return { tokenIds_BT: perPosition, targetIds_BT: perPosition, segmentIds_BT: perPosition, positions_BT: perPosition };
}

/** @param reduce makes one loss of those of all positions */
function lossAndGradients(
  { decoder: config, batchSize, sequenceLength }: BenchModel,
  context: PhaseContext,
  reduce: (losses_R: tf.Tensor) => tf.Scalar,
): { readonly value: tf.Scalar; readonly grads: Readonly<Record<string, tf.Tensor>> } {
  const parameters = decoderParameters(config);
  const targets_R = tf.reshape<tf.Rank.R1>(context.input('targetIds_BT'), [batchSize * sequenceLength]);
  const loss = (...values: tf.Tensor[]) => {
    const byName = new Map(parameters.map(({ name }, i) => [name, values[i] as tf.Tensor]));
    const parameter = (name: string) => byName.get(name) as tf.Tensor;
    const x_RD = takeRows(parameter('embedding'), context.input('tokenIds_BT'));
    const places = [context.input('segmentIds_BT'), context.input('positions_BT')] as const;
    return reduce(sparseSoftmaxCrossEntropy(decoder(x_RD, parameter, config, ...places), targets_R));
  };
  const { value, grads } = tf.valueAndGrads(loss)(parameters.map(({ name }) => context.read(name)));
  return { value, grads: Object.fromEntries(parameters.map(({ name }, i) => [name, grads[i] as tf.Tensor])) };
}
