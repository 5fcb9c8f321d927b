import type { ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { StepReport, StepVote } from '@weft/contracts';
import type { BatchLoader, Microbatch, TrainTask } from '@weft/tasks';
import type { Executor, PhaseInputs, PhaseRun } from '@weft/tensor';
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
import type { TrainPhase, TrainProgram } from './train-program.js';

/** What a rank needs to take a step. */
export interface StepParts {
  readonly config: Pick<RunConfig, 'globalBatchSize' | 'optimizer' | 'steps'>;
  readonly task: Pick<TrainTask, 'sequenceLength' | 'readStats'>;
  readonly program: TrainProgram;
  readonly executor: Executor;
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
  const { config, coordinator, executor, group, loader, program, remote, task } = parts;
  const stopwatch = new Stopwatch();
  const exchanged = measureExchange(remote);

  // Data: this rank's slice of the global batch, cut into microbatches. It was read ahead while earlier steps computed.
  const { microbatches, digest } = await loader.load(step, group.rank, group.worldSize);
  const dataSeconds = stopwatch.lap();

  // Forward and backward: gradients are summed over the microbatches in their order, never by who was faster. The last
  // backward pass is only begun, so that the ring has work as soon as it has computed its first bucket.
  const lastBackward = remote
    ? await beginRemoteGradients({ executor, program, remote, step }, microbatches)
    : await beginGradients(executor, microbatches);
  const expertNorms = askExpertNorms(remote, step);

  // All-reduce: a bucket travels around the ring while the backward pass still computes the next one.
  let computeSeconds = 0;
  const buckets = await reduceGradients(lastBackward, program.buckets, group, () => {
    computeSeconds = stopwatch.lap();
  });
  try {
    let communicationSeconds = stopwatch.lap();

    // Measure: loss and norm are those of the global batch now, with the same bits on every rank.
    const { stats, ...measured } = await measure(executor, buckets, await expertNorms());
    const vote: StepVote = { step, ...measured, sequenceDigest: digest };
    computeSeconds += stopwatch.lap();
    const { waitingSeconds, ...bytes } = exchanged();

    // Vote: until every rank has reduced the step, one that dies takes the step with it. After the decision it counts.
    const { apply } = await coordinator.vote(vote);
    communicationSeconds += stopwatch.lap();

    // Apply: clipping, schedule and AdamW inside the engine. A refused step uses up its data and changes nothing.
    const learningRate = apply ? await applyGradients(executor, buckets, vote) : scheduledRate(config, step);
    const applySeconds = stopwatch.lap();

    // Report: what rank 0 tells the coordinator, and a checkpoint where one is due, follow in the train loop.
    const tokensPerSecond = (config.globalBatchSize * task.sequenceLength) / stopwatch.total();
    const { moeLayers } = task.readStats(stats, vote.lossTokens);
    const moe = moeLayers.length === 0 ? undefined : { layers: moeLayers, ...bytes, waitingSeconds };
    computeSeconds -= waitingSeconds;
    const seconds = { dataSeconds, computeSeconds, communicationSeconds, applySeconds };
    return { report: { step, learningRate, tokensPerSecond, ...seconds, moe }, vote, applied: apply };
  } finally {
    disposeAll(buckets);
  }
}

/** Sums the gradients of all microbatches but the last, whose backward pass it only begins. */
async function beginGradients(executor: Executor, microbatches: readonly Microbatch[]): Promise<PhaseRun> {
  let sums: HostBuckets = {};
  for (const [index, microbatch] of microbatches.entries()) {
    const phase: TrainPhase = index === 0 ? 'gradients' : 'accumulate';
    const before = sums;
    const inputs = { ...microbatch, ...before };
    try {
      if (index === microbatches.length - 1) return await executor.begin(phase, inputs);
      sums = await executor.run(phase, inputs);
    } finally {
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
async function measure(executor: Executor, buckets: HostBuckets, expertNorms: readonly number[]): Promise<Measured> {
  const outputs = await run(executor, 'measure', buckets);
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
async function applyGradients(executor: Executor, buckets: HostBuckets, { step, gradNorm }: StepVote): Promise<number> {
  const inputs = { ...buckets, gradNorm: scalarInput(gradNorm), step: scalarInput(step) };
  const applied = await run(executor, 'apply', inputs);
  const learningRate = scalarOf(applied, 'learningRate');
  disposeAll(applied);
  return learningRate;
}

function run(executor: Executor, phase: TrainPhase, inputs: PhaseInputs): Promise<HostBuckets> {
  return executor.run(phase, inputs);
}

/** The learning rate of a step that is not applied, for its report. */
function scheduledRate({ optimizer, steps }: StepParts['config'], step: number): number {
  return optimizer.learningRate * scheduleFactorAt(optimizer, steps, step);
}

/** Measures the parts of a step one after another, in seconds. */
class Stopwatch {
  readonly #startedMs = performance.now();
  #lapMs = this.#startedMs;

  /** Seconds since the last lap, or since the start. */
  lap(): number {
    const nowMs = performance.now();
    const seconds = (nowMs - this.#lapMs) / 1000;
    this.#lapMs = nowMs;
    return seconds;
  }

  /** Seconds since the start. */
  total(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }
}
