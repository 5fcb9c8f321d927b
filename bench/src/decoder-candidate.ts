// Legend: B sequences, T positions, R = B·T rows, D width, V vocabulary.
import { createExecutor } from '@weft/backend-tensorflow';
import { decoder, decoderParameters, takeRows } from '@weft/model';
import { type TaskBatch, type TrainTask, taskParameter } from '@weft/tasks';
import { type Program, sparseSoftmaxCrossEntropy, type TensorSpec, tf } from '@weft/tensor';
import { adamwApply, adamwState, clipScale, globalNorm } from '@weft/training';
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

/** The decoder alone, trained in one process: forward, backward, clipping and AdamW are one phase, `step`. */
function decoderProgram(model: BenchModel): Program {
  const parameters = decoderParameters(model.decoder);
  const names = parameters.map(({ name }) => name);
  const weights = Object.fromEntries(parameters.map(({ name, shape }) => [name, { shape, dtype: 'float32' } as const]));
  return {
    name: model.name,
    state: { ...weights, ...adamwState(parameters) },
    phases: {
      step: {
        inputs: { ...batchOf(model), step: { shape: [], dtype: 'float32' } },
        run: (context) => {
          const batch = Object.fromEntries(Object.keys(batchOf(model)).map((name) => [name, context.input(name)]));
          const loss = (...weights: tf.Tensor[]) => {
            const parameter = (name: string) => weights[names.indexOf(name)] as tf.Tensor;
            return tf.mean<tf.Scalar>(losses(model, batch, parameter));
          };
          const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => context.read(name)));
          adamwApply(context, OPTIMIZER, parameters, {
            gradient: (name) => grads[names.indexOf(name)] as tf.Tensor,
            gradientScale: clipScale(globalNorm(grads), OPTIMIZER.clipNorm),
            step: context.input('step') as tf.Scalar,
            factor: tf.scalar(1),
          });
          return { loss: value };
        },
      },
    },
  };
}

/** The decoder alone as a task of Weft's own train step: gradients in buckets, all-reduced between the phases. */
export function decoderTask(model: BenchModel): TrainTask {
  const targets = model.batchSize * model.sequenceLength;
  return {
    name: model.name,
    parameters: decoderParameters(model.decoder).map(taskParameter),
    sequenceLength: model.sequenceLength,
    batch: batchOf(model),
    statsLength: 0,
    remoteExperts: undefined,
    forward: ({ batch, parameter }) => {
      const lossSum = tf.sum<tf.Scalar>(losses(model, batch, parameter));
      return { objective: lossSum, lossSum, stats: undefined };
    },
    lossTokens: () => tf.scalar(targets),
    readStats: () => ({ moeLayers: [] }),
    isRemote: () => false,
    openData: () => Promise.reject(new Error('the batches of a benchmark come from its fixture')),
  };
}

function batchOf({ batchSize, sequenceLength }: BenchModel): Readonly<Record<string, TensorSpec>> {
  const perPosition: TensorSpec = { shape: [batchSize, sequenceLength], dtype: 'int32' };
  return { tokenIds_BT: perPosition, targetIds_BT: perPosition, segmentIds_BT: perPosition, positions_BT: perPosition };
}

/** The cross-entropy at every position, [R]. */
function losses(
  { decoder: config, batchSize, sequenceLength }: BenchModel,
  batch: TaskBatch,
  parameter: (name: string) => tf.Tensor,
): tf.Tensor {
  const field = (name: string) => batch[name] as tf.Tensor;
  const targets_R = tf.reshape<tf.Rank.R1>(field('targetIds_BT'), [batchSize * sequenceLength]);
  const x_RD = takeRows(parameter('embedding'), field('tokenIds_BT'));
  const scores_RV = decoder(x_RD, parameter, config, field('segmentIds_BT'), field('positions_BT'));
  return sparseSoftmaxCrossEntropy(scores_RV, targets_R);
}
