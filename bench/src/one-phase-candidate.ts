// Legend: B sequences, T positions, R = B·T rows, D width, V vocabulary.
import type { OptimizerConfig } from '@weft/config';
import { decoder, decoderParameters, takeRows } from '@weft/model';
import { SourceLoss, type TaskBatch, type TrainTask, taskParameter } from '@weft/tasks';
import { type Program, sparseSoftmaxCrossEntropy, type TensorSpec, tf } from '@weft/tensor';
import { adamwApply, adamwState, clipScale, globalNorm } from '@weft/training';
import { type Candidate, type CandidateParts, openEngine } from './candidate.js';
import { loadBatch, loadWeights } from './fixture.js';
import type { BenchModel } from './models.js';

/** A task in one process, its whole step as one phase: what the engine can do where nothing is exchanged between ranks. */
export async function openOnePhase(parts: CandidateParts, task: TrainTask): Promise<Candidate> {
  const { spec } = parts;
  await parts.exchangeAddresses(undefined);
  const program = onePhaseProgram(task, spec.optimizer);
  const engine = openEngine(parts, program);
  const { executor } = engine;
  await loadWeights(executor, program, spec.fixture);
  const loaded = await loadBatch(spec.fixture, spec.rank);
  const sources = new SourceLoss([]).arrays([], spec.model.batchSize);
  const batch = 'sources_B' in task.batch ? { ...loaded, ...sources } : loaded;
  let step = 0;
  return {
    engine,
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

/** Forward, backward, clipping and AdamW as the phase `step`. */
function onePhaseProgram(task: TrainTask, optimizer: OptimizerConfig): Program {
  const { parameters } = task;
  const names = parameters.map(({ name }) => name);
  const weights = Object.fromEntries(parameters.map(({ name, shape }) => [name, { shape, dtype: 'float32' } as const]));
  return {
    name: task.name,
    state: { ...weights, ...adamwState(parameters) },
    phases: {
      step: {
        inputs: { ...task.batch, step: { shape: [], dtype: 'float32' } },
        run: (context) => {
          const batch = Object.fromEntries(Object.keys(task.batch).map((name) => [name, context.input(name)]));
          const loss = (...weights: tf.Tensor[]) => {
            const { objective } = task.forward({
              batch,
              parameter: (name) => weights[names.indexOf(name)] as tf.Tensor,
              isTraining: true,
              capture: () => {},
              pendingInput: (name) => context.input(name),
            });
            return tf.div<tf.Scalar>(objective, task.lossTokens(batch));
          };
          const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => context.read(name)));
          adamwApply(context, optimizer, parameters, {
            gradient: (name) => grads[names.indexOf(name)] as tf.Tensor,
            gradientScale: clipScale(globalNorm(grads), optimizer.clipNorm),
            step: context.input('step') as tf.Scalar,
            factor: tf.scalar(1),
          });
          return { loss: value };
        },
      },
    },
  };
}

/** The decoder alone as a task. */
export function decoderTask(model: BenchModel): TrainTask {
  const targets = model.batchSize * model.sequenceLength;
  return {
    name: model.name,
    parameters: decoderParameters(model.decoder).map((spec) => taskParameter(spec)),
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
