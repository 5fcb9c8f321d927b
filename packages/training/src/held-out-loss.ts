import type { ProcessGroup } from '@weft/collectives';
import { perSource, SOURCES, type Source, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { HeldOutLoss } from '@weft/contracts';
import { type BatchArrays, type Dataset, heldOutBatches } from '@weft/data';
import { type Executor, type Phase, tf } from '@weft/engine';
import { BATCH_FIELDS, type Batch, batchSpecs, lossParts, withoutJitter } from '@weft/model';
import { Beside } from './beside.js';
import { evaluateRemotely, type RemoteExperts } from './experts/microbatch-flow.js';
import { remoteExperts, remoteInputs } from './experts/remote-experts.js';

/**
 * `evaluate`: one microbatch → the sum of its cross-entropies and the number of its text targets. No gradients. Where the
 * run has expert workers, its MoE layers give out rows and wait for late inputs, as those of `gradients` do.
 */
export function evaluatePhase(config: RunConfig): Phase {
  const { model, data, microbatchSize } = config;
  const isRemote = config.expertWorkers > 0;
  const batch = batchSpecs(model, microbatchSize, data.imagesPerSequence);
  return {
    inputs: { ...batch, ...(isRemote ? remoteInputs(config, ['outputs']) : {}) },
    run: (context) => {
      const batch = Object.fromEntries(BATCH_FIELDS.map((name) => [name, context.input(name)])) as Batch;
      const beside = new Beside();
      const experts = isRemote ? remoteExperts(context, beside) : undefined;
      const { crossEntropy } = lossParts(withoutJitter(model), (name) => context.read(name), batch, experts);
      return { lossSum: crossEntropy, lossTokens: tf.sum(batch.lossMask_BT), ...beside.take() };
    },
  };
}

export interface EvaluationParts {
  readonly config: RunConfig;
  readonly executor: Executor;
  readonly dataset: Dataset;
  readonly group: ProcessGroup;
  /** The way to the experts, where the run has expert workers. */
  readonly remote?: RemoteExperts | undefined;
  /** The model is the one after this step. */
  readonly step: number;
  /** Gives the evaluation up. */
  readonly released: AbortSignal;
}

/**
 * The held-out loss of the model as it stands: every rank computes its part of every source's sequences, and the sums
 * go around the ring once.
 * @throws WeftError `unavailable` when the ring breaks, `cancelled` when the generation is released.
 */
export async function heldOutLoss(parts: EvaluationParts): Promise<HeldOutLoss> {
  const startedMs = performance.now();
  const { weights } = parts.config.data;
  const isPart = (source: Source) => weights[source] > 0;
  const sums = new Float32Array(2 * SOURCES.length);
  for (const [i, source] of SOURCES.entries()) if (isPart(source)) sums.set(await sumOf(parts, source), 2 * i);
  await parts.group.allReduceSum(sums);
  const sources = perSource((source, i) => (isPart(source) ? (sums[2 * i] ?? 0) / (sums[2 * i + 1] ?? 0) : null));
  const weightOfAll = SOURCES.reduce((sum, source) => sum + weights[source], 0);
  const loss = SOURCES.reduce((sum, source) => sum + (weights[source] / weightOfAll) * (sources[source] ?? 0), 0);
  return { loss, sources, seconds: (performance.now() - startedMs) / 1000 };
}

/** Loss sum and token count of the rank's part of one source. */
async function sumOf(parts: EvaluationParts, source: Source): Promise<[number, number]> {
  const { config, dataset, group, released } = parts;
  const { rank, worldSize } = group;
  const { microbatchSize, evaluation } = config;
  const heldOut = evaluation.sequencesPerSource;
  const sum: [number, number] = [0, 0];
  let microbatch = 0;
  for await (const batch of heldOutBatches({ dataset, source, heldOut, microbatchSize, rank, worldSize })) {
    if (released.aborted) throw new WeftError('cancelled', 'the evaluation was given up');
    const [lossSum, lossTokens] = await evaluate(parts, batch, microbatch++);
    sum[0] += lossSum;
    sum[1] += lossTokens;
  }
  return sum;
}

async function evaluate(parts: EvaluationParts, batch: BatchArrays, microbatch: number): Promise<[number, number]> {
  const { executor, remote, step } = parts;
  const outputs =
    remote === undefined
      ? await executor.run('evaluate', { ...batch })
      : await evaluateRemotely({ executor, remote, step }, { ...batch }, microbatch);
  const read = (name: string) => outputs[name]?.data[0] ?? Number.NaN;
  const result: [number, number] = [read('lossSum'), read('lossTokens')];
  for (const tensor of Object.values(outputs)) tensor.dispose();
  return result;
}
