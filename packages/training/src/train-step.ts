import type { DeviceGroup, ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { BatchCounts, MoeReport, StepReport, StepVote } from '@weft/contracts';
import type { BatchLoader, Microbatch, TrainTask } from '@weft/tasks';
import type { PhaseRun } from '@weft/tensor';
import { type Buckets, reduceGradients } from './gradient-buckets.js';
import { disposeAll, scalarInput, scalarOf } from './host-tensors.js';
import {
  askExpertNorms,
  beginRemoteGradients,
  measureExchange,
  type RemoteExperts,
} from './moe/remote-moe-pipeline.js';
import { scheduleFactorAt } from './optimizer/schedule.js';
import type { CoordinatorPort, SpanNotes } from './ports.js';
import { shareValues } from './shared-values.js';
import { StepClock } from './step-clock.js';
import type { TrainExecutor, TrainProgram } from './train-program.js';

/** What a rank needs to take a step. */
export interface StepParts {
  readonly config: Pick<RunConfig, 'globalBatchSize' | 'optimizer' | 'steps'>;
  readonly task: Pick<TrainTask, 'sequenceLength' | 'readStats' | 'shared'>;
  readonly program: TrainProgram;
  readonly executor: TrainExecutor;
  readonly loader: Pick<BatchLoader, 'load'>;
  readonly group: ProcessGroup;
  /** Whether every rank holds buckets in the same parts, see `haveSameParts`; default: yes. */
  readonly sameParts?: boolean;
  /** Sums gradients in the memory of the devices, where every rank can; default: the ring does. */
  readonly devices?: DeviceGroup | undefined;
  readonly coordinator: CoordinatorPort;
  /** The experts in other processes, where the run has expert workers. */
  readonly remote?: RemoteExperts | undefined;
  /** Times the steps of the session. Default: a clock of the step's own. */
  readonly clock?: StepClock | undefined;
}

/** What became of a step. */
export interface StepResult {
  readonly report: StepReport;
  readonly vote: StepVote;
  /** False where a rank had gradients that are not finite, and in a step without targets: it counts, and changes nothing. */
  readonly applied: boolean;
  /** What this rank took from its loader; absent where the task does not count. */
  readonly batch?: BatchCounts | undefined;
  /** Between the devices of the ranks, beside what went around the ring. */
  readonly deviceBytes: { readonly sent: number; readonly received: number };
}

/**
 * One optimizer step on one rank, in the order things happen. Nothing is applied before the cluster has decided, so a
 * step that fails earlier can be repeated with other ranks; nothing interrupts the step after that.
 * @throws WeftError `unavailable` when the ring breaks, `cancelled` when the generation is released before the decision.
 */
export async function trainStep(parts: StepParts, step: number): Promise<StepResult> {
  const { config, coordinator, executor, group, loader, program, remote } = parts;
  const clock = parts.clock ?? new StepClock();
  clock.begin();
  const exchanged = measureExchange(remote);
  const summed = parts.devices?.stats ?? NO_TRANSFERS;

  // Data: this rank's slice of the global batch, cut into microbatches. It was read ahead while earlier steps computed.
  const { microbatches, digest, counts } = await loader.load(step, group.rank, group.worldSize);
  const kind = clock.running(gradientPhases(program, microbatches));
  clock.lap('data', kind);

  // Forward and backward: gradients are summed in the order of the microbatches, so that sums do not depend on timing.
  // The last backward pass is only begun: the ring gets its buckets one by one, as they are computed.
  const lastBackward = remote
    ? await beginRemoteGradients({ executor, program, remote, step }, microbatches)
    : await beginGradients(parts, microbatches, clock.spans);
  const expertNorms = askExpertNorms(remote, step);

  // All-reduce: one bucket travels around the ring while the backward pass computes the next.
  const reduction = {
    buckets: program.buckets,
    group,
    sameParts: parts.sameParts ?? true,
    devices: parts.devices,
    spans: clock.spans,
  };
  const buckets = await reduceGradients(lastBackward, reduction, () =>
    clock.lap('compute', 'communicating', 'gradients'),
  );
  try {
    clock.lap('communication', clock.running(['measure']), 'all-reduce');
    const communicationSeconds = clock.seconds.communication;

    // Measure: loss and norm are those of the global batch now, with the same bits on every rank.
    const { stats, ...means } = await measure(executor, buckets, await expertNorms());
    const read = parts.task.readStats(stats, means.lossTokens);
    const { sourceLoss } = read;
    const exchange = exchanged();
    clock.lap('compute', 'communicating', 'measure');
    clock.timer.move(kind, 'waitingForExperts', exchange.waitingSeconds);
    const times = { communicationSeconds, dataSeconds: clock.seconds.data, computeSeconds: clock.seconds.compute };
    const vote: StepVote = {
      step,
      ...means,
      // One source that spikes is hidden in the mean of all.
      ...(sourceLoss === undefined ? {} : { sourceLoss }),
      sequenceDigest: digest,
      ...times,
      applySecondsBefore: clock.appliedSeconds,
    };

    // Vote: if a rank dies before all have voted, the others repeat the step without it. Once it is decided, it counts.
    const { apply, leastCommunicationSeconds = communicationSeconds } = await coordinator.vote(vote);
    clock.lap('communication', clock.running(['apply']), 'vote');
    // A rank that computes longer is noticed by the others: their all-reduce stands still until it has come.
    clock.timer.move('communicating', 'waitingForStraggler', communicationSeconds - leastCommunicationSeconds);

    // Apply: clipping, schedule and AdamW inside the engine. A refused step has consumed its data and changes nothing.
    const learningRate = apply ? await applyGradients(executor, buckets, vote) : scheduledRate(config, step);
    clock.lap('apply', 'computing');

    // Report: the train loop sends it, and saves a checkpoint where one is due.
    const report = stepReport(parts, vote, { learningRate, read, exchange, seconds: clock.seconds });
    const { bytesSent, bytesReceived } = parts.devices?.stats ?? NO_TRANSFERS;
    const deviceBytes = { sent: bytesSent - summed.bytesSent, received: bytesReceived - summed.bytesReceived };
    return { report, vote, applied: apply, batch: counts, deviceBytes };
  } finally {
    disposeAll(buckets);
  }
}

function gradientPhases(program: TrainProgram, microbatches: readonly Microbatch[]): readonly string[] {
  return microbatches.map((each, index) => program.phaseOf(index === 0 ? 'gradients' : 'accumulate', each));
}
const NO_TRANSFERS: DeviceGroup['stats'] = { bytesSent: 0, bytesReceived: 0 };

/** Sums the gradients of all microbatches but the last, whose backward pass it only begins. */
async function beginGradients(
  { executor, group, program, task: { shared } }: StepParts,
  microbatches: readonly Microbatch[],
  spans: SpanNotes,
): Promise<PhaseRun> {
  // Features before gradients: a loss that compares sequences with each other needs those of the whole step.
  const sharedInputs = shared && (await shareValues({ executor, group, shared }, microbatches));
  let sums: Buckets = {};
  for (const [index, microbatch] of microbatches.entries()) {
    const phase = program.phaseOf(index === 0 ? 'gradients' : 'accumulate', microbatch);
    const before = sums;
    const beganMs = performance.now();
    const inputs = { ...microbatch, ...sharedInputs?.(index), ...before };
    try {
      // Awaited to its beginning only: the caller fetches the buckets while the pass goes on.
      if (index === microbatches.length - 1) return await executor.begin(phase, inputs, group.worldSize > 1);
      sums = await executor.runResident(phase, inputs);
      spans.add('phases', `microbatch ${index}`, beganMs, { phase });
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
async function measure(executor: TrainExecutor, buckets: Buckets, expertNorms: readonly number[]): Promise<Measured> {
  const outputs = await executor.run('measure', buckets);
  const [loss, ownNorm, lossTokens] = [
    scalarOf(outputs, 'loss'),
    scalarOf(outputs, 'gradNorm'),
    scalarOf(outputs, 'lossTokens'),
  ];
  const stats = outputs.stats === undefined ? [] : [...outputs.stats.data];
  disposeAll(outputs);
  // Means over no targets are not defined: such a step has no loss, and nothing to apply.
  if (lossTokens === 0) return { loss: 0, gradNorm: 0, finite: true, lossTokens, stats };
  // The norms of expert workers are of sums, the rank's own is of means.
  const squared = expertNorms.reduce((sum, each) => sum + each / lossTokens ** 2, ownNorm ** 2);
  const gradNorm = expertNorms.length === 0 ? ownNorm : Math.sqrt(squared);
  const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
  return { loss, gradNorm, finite, lossTokens, stats };
}

/** Returns the learning rate of the step. */
async function applyGradients(
  executor: TrainExecutor,
  buckets: Buckets,
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
  { step }: StepVote,
  { learningRate, read, exchange, seconds }: Findings,
): StepReport {
  const { data, compute, communication, apply } = seconds;
  const { moeLayers, measures, sourceLoss } = read;
  return {
    step,
    learningRate,
    tokensPerSecond: (config.globalBatchSize * task.sequenceLength) / (data + compute + communication + apply),
    dataSeconds: data,
    computeSeconds: compute - exchange.waitingSeconds,
    communicationSeconds: communication,
    applySeconds: apply,
    measures,
    sourceLoss,
    moe: moeLayers.length === 0 ? undefined : { layers: moeLayers, ...exchange },
  };
}

interface Findings {
  readonly learningRate: number;
  readonly read: ReturnType<StepParts['task']['readStats']>;
  readonly exchange: Omit<MoeReport, 'layers'>;
  readonly seconds: StepClock['seconds'];
}
