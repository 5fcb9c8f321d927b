import type { ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { MoeReport, StepReport, StepVote } from '@weft/contracts';
import type { BatchLoader, Microbatch, TrainTask } from '@weft/tasks';
import type { PhaseRun } from '@weft/tensor';
import { type HostBuckets, reduceGradients } from './gradient-buckets.js';
import { disposeAll, scalarInput, scalarOf } from './host-tensors.js';
import {
  askExpertNorms,
  beginRemoteGradients,
  measureExchange,
  type RemoteExperts,
} from './moe/remote-moe-pipeline.js';
import { scheduleFactorAt } from './optimizer/schedule.js';
import type { CoordinatorPort } from './ports.js';
import type { TrainExecutor, TrainProgram } from './train-program.js';

/** What a rank needs to take a step. */
export interface StepParts {
  readonly config: Pick<RunConfig, 'globalBatchSize' | 'optimizer' | 'steps'>;
  readonly task: Pick<TrainTask, 'sequenceLength' | 'readStats'>;
  readonly program: TrainProgram;
  readonly executor: TrainExecutor;
  readonly loader: Pick<BatchLoader, 'load'>;
  readonly group: ProcessGroup;
  readonly coordinator: CoordinatorPort;
  /** The experts in other processes, where the run has expert workers. */
  readonly remote?: RemoteExperts | undefined;
}

/** What became of a step. */
export interface StepResult {
  readonly report: StepReport;
  readonly vote: StepVote;
  /** False where a rank had gradients that are not finite: the step counts, and changes nothing. */
  readonly applied: boolean;
}

/**
 * One optimizer step on one rank, in the order things happen. Nothing is applied before the cluster has decided, so a
 * step that fails earlier can be repeated with other ranks; nothing interrupts the step after that.
 * @throws WeftError `unavailable` when the ring breaks, `cancelled` when the generation is released before the decision.
 */
export async function trainStep(parts: StepParts, step: number): Promise<StepResult> {
  const { config, coordinator, executor, group, loader, program, remote } = parts;
  const stopwatch = new Stopwatch();
  const exchanged = measureExchange(remote);

  // Data: this rank's slice of the global batch, cut into microbatches. It was read ahead while earlier steps computed.
  const { microbatches, digest } = await loader.load(step, group.rank, group.worldSize);
  stopwatch.lap('data');

  // Forward and backward: gradients are summed in the order of the microbatches, so that sums do not depend on timing.
  // The last backward pass is only begun: the ring gets its buckets one by one, as they are computed.
  const lastBackward = remote
    ? await beginRemoteGradients({ executor, program, remote, step }, microbatches)
    : await beginGradients(executor, microbatches);
  const expertNorms = askExpertNorms(remote, step);

  // All-reduce: one bucket travels around the ring while the backward pass computes the next.
  const buckets = await reduceGradients(lastBackward, program.buckets, group, () => stopwatch.lap('compute'));
  try {
    stopwatch.lap('communication');

    // Measure: loss and norm are those of the global batch now, with the same bits on every rank.
    const { stats, ...means } = await measure(executor, buckets, await expertNorms());
    const vote: StepVote = { step, ...means, sequenceDigest: digest };
    const exchange = exchanged();
    stopwatch.lap('compute');

    // Vote: if a rank dies before all have voted, the others repeat the step without it. Once it is decided, it counts.
    const { apply } = await coordinator.vote(vote);
    stopwatch.lap('communication');

    // Apply: clipping, schedule and AdamW inside the engine. A refused step has consumed its data and changes nothing.
    const learningRate = apply ? await applyGradients(executor, buckets, vote) : scheduledRate(config, step);
    stopwatch.lap('apply');

    // Report: the train loop sends it, and saves a checkpoint where one is due.
    const report = stepReport(parts, vote, { learningRate, stats, exchange, stopwatch });
    return { report, vote, applied: apply };
  } finally {
    disposeAll(buckets);
  }
}

/** Sums the gradients of all microbatches but the last, whose backward pass it only begins. */
async function beginGradients(executor: TrainExecutor, microbatches: readonly Microbatch[]): Promise<PhaseRun> {
  let sums: HostBuckets = {};
  for (const [index, microbatch] of microbatches.entries()) {
    const phase = index === 0 ? 'gradients' : 'accumulate';
    const before = sums;
    const inputs = { ...microbatch, ...before };
    try {
      // Awaited to its beginning only: the caller fetches the buckets while the pass goes on.
      if (index === microbatches.length - 1) return await executor.begin(phase, inputs);
      sums = await executor.run(phase, inputs);
    } finally {
      // The engine has its own reference to what it was fed.
      disposeAll(before);
    }
  }
  throw new WeftError('internal', 'a step without microbatches');
}

/** What a rank learns from its reduced buckets. */
interface Measured extends Pick<StepVote, 'loss' | 'gradNorm' | 'finite' | 'lossTokens'> {
  /** The task's statistics, summed over the global batch; empty where it has none. */
  readonly stats: readonly number[];
}

/** @param expertNorms the squared norm of the gradient sums that each expert worker holds; none without expert workers. */
async function measure(
  executor: TrainExecutor,
  buckets: HostBuckets,
  expertNorms: readonly number[],
): Promise<Measured> {
  const outputs = await executor.run('measure', buckets);
  const [loss, ownNorm, lossTokens] = [
    scalarOf(outputs, 'loss'),
    scalarOf(outputs, 'gradNorm'),
    scalarOf(outputs, 'lossTokens'),
  ];
  const stats = outputs.stats === undefined ? [] : [...outputs.stats.data];
  disposeAll(outputs);
  // The norms of expert workers are of sums, the rank's own is of means.
  const squared = expertNorms.reduce((sum, each) => sum + each / lossTokens ** 2, ownNorm ** 2);
  const gradNorm = expertNorms.length === 0 ? ownNorm : Math.sqrt(squared);
  const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
  return { loss, gradNorm, finite, lossTokens, stats };
}

/** Returns the learning rate of the step. */
async function applyGradients(
  executor: TrainExecutor,
  buckets: HostBuckets,
  { step, gradNorm }: StepVote,
): Promise<number> {
  // The norm that was voted, not one measured here: with expert workers every process must clip by that of the whole model.
  const inputs = { ...buckets, gradNorm: scalarInput(gradNorm), step: scalarInput(step) };
  const applied = await executor.run('apply', inputs);
  const learningRate = scalarOf(applied, 'learningRate');
  disposeAll(applied);
  return learningRate;
}

/** The learning rate of a step that is not applied, for its report. */
function scheduledRate({ optimizer, steps }: StepParts['config'], step: number): number {
  return optimizer.learningRate * scheduleFactorAt(optimizer, steps, step);
}

function stepReport(
  { config, task }: StepParts,
  { step, lossTokens }: StepVote,
  { learningRate, stats, exchange, stopwatch }: Findings,
): StepReport {
  const { data, compute, communication, apply } = stopwatch.seconds;
  const { moeLayers } = task.readStats(stats, lossTokens);
  return {
    step,
    learningRate,
    tokensPerSecond: (config.globalBatchSize * task.sequenceLength) / (data + compute + communication + apply),
    dataSeconds: data,
    computeSeconds: compute - exchange.waitingSeconds,
    communicationSeconds: communication,
    applySeconds: apply,
    moe: moeLayers.length === 0 ? undefined : { layers: moeLayers, ...exchange },
  };
}

interface Findings {
  readonly learningRate: number;
  readonly stats: readonly number[];
  readonly exchange: Omit<MoeReport, 'layers'>;
  readonly stopwatch: Stopwatch;
}

/** Gives the time that passes to the parts of a step. */
class Stopwatch {
  readonly seconds = { data: 0, compute: 0, communication: 0, apply: 0 };
  #lapMs = performance.now();

  /** What passed since the last lap, or since the start, belongs to this part. */
  lap(part: keyof Stopwatch['seconds']): void {
    const nowMs = performance.now();
    this.seconds[part] += (nowMs - this.#lapMs) / 1000;
    this.#lapMs = nowMs;
  }
}
