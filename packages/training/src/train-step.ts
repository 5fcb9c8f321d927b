import type { ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { MoeReport, StepReport, StepVote } from '@weft/contracts';
import type { BatchArrays, SliceLoader, StepSlice } from '@weft/data';
import type { Executor, PhaseRun } from '@weft/engine';
import { decodeMoeSignals } from '@weft/model';
import { beginRemoteGradients, type RemoteExperts } from './experts/microbatch-flow.js';
import { scheduleFactorAt } from './optimizer/index.js';
import type { CoordinatorLink } from './ports.js';
import { type Buckets, reduceGradients, release } from './reduce-gradients.js';
import { Stopwatch } from './stopwatch.js';
import type { TrainPhase, TrainProgram } from './train-program.js';

/** What a rank needs to take a step. */
export interface StepParts {
  readonly config: RunConfig;
  readonly program: TrainProgram;
  readonly executor: Executor;
  readonly loader: Pick<SliceLoader, 'load'>;
  readonly group: ProcessGroup;
  readonly link: CoordinatorLink;
  /** The way to the experts, where the run has expert workers. */
  readonly remote?: RemoteExperts | undefined;
}

/** What became of a step. */
export interface StepResult {
  readonly report: StepReport;
  readonly vote: StepVote;
  readonly applied: boolean;
  readonly sequences: StepSlice['sequences'];
}

/**
 * One optimizer step on one rank, in the order things happen: read the rank's slice, sum the gradients of its
 * microbatches, all-reduce them while the last backward pass still runs, vote, and apply them once every rank has
 * voted. Nothing is applied before the cluster's decision, and nothing can interrupt the step after it.
 * @throws WeftError `unavailable` when the ring breaks, `cancelled` when the generation is released before the decision.
 */
export async function trainStep(parts: StepParts, step: number): Promise<StepResult> {
  const { config, executor, group, link, loader, program, remote } = parts;
  const exchanged = exchangeMeter(remote);
  const watch = new Stopwatch();

  const slice = await loader.load(step, group.rank, group.worldSize);
  const dataSeconds = watch.lap();

  const { microbatches } = slice;
  const backward = remote
    ? await beginRemoteGradients(
        { executor, program, remote, step },
        microbatches.map((arrays) => ({ ...arrays })),
      )
    : await beginGradients(executor, microbatches);
  const expertNorms = askNorms(remote, step);
  let computeSeconds = 0;
  const buckets = await reduceGradients(backward, program.buckets, group, () => {
    computeSeconds = watch.lap();
  });
  try {
    let communicationSeconds = watch.lap();

    const { vote, moeSignals } = await measure(parts, step, buckets, slice, await awaited(remote, expertNorms));
    computeSeconds += watch.lap();
    const { waitingSeconds, ...bytes } = exchanged();

    const { apply } = await link.vote(vote);
    communicationSeconds += watch.lap();

    const learningRate = apply ? await applyGradients(parts, step, buckets, vote) : scheduled(config, step);
    const applySeconds = watch.lap();

    const tokensPerSecond = (config.globalBatchSize * config.model.sequenceLength) / watch.total();
    computeSeconds -= waitingSeconds;
    const seconds = { dataSeconds, computeSeconds, communicationSeconds, applySeconds };
    const layers = decodeMoeSignals(config.model, moeSignals, vote.lossTokens);
    const experts: MoeReport | undefined = layers.length === 0 ? undefined : { layers, ...bytes, waitingSeconds };
    return {
      report: { step, learningRate, tokensPerSecond, ...seconds, moe: experts },
      vote,
      applied: apply,
      sequences: slice.sequences,
    };
  } finally {
    release(buckets);
  }
}

/** Sums the gradients of all microbatches but the last, whose backward pass it only begins. */
async function beginGradients(executor: Executor, microbatches: readonly BatchArrays[]): Promise<PhaseRun> {
  let sums: Buckets = {};
  for (const [index, microbatch] of microbatches.entries()) {
    const phase: TrainPhase = index === 0 ? 'gradients' : 'accumulate';
    const before = sums;
    const inputs = { ...microbatch, ...before };
    try {
      if (index === microbatches.length - 1) return await executor.begin(phase, inputs);
      sums = await executor.run(phase, inputs);
    } finally {
      release(before);
    }
  }
  throw new WeftError('internal', 'a step without microbatches');
}

/** @param expertNorms the squared norm of every expert worker's part of the gradient sums. */
async function measure(
  parts: StepParts,
  step: number,
  buckets: Buckets,
  slice: StepSlice,
  expertNorms: readonly number[],
): Promise<{ readonly vote: StepVote; readonly moeSignals: readonly number[] }> {
  const measured = await parts.executor.run('measure', buckets);
  const read = (name: string) => measured[name]?.data[0] ?? Number.NaN;
  const [loss, ownNorm, lossTokens] = [read('loss'), read('gradNorm'), read('lossTokens')];
  const moeSignals = [...(measured.moeSignals?.data ?? [])];
  release(measured);
  const squared = expertNorms.reduce((sum, each) => sum + each / lossTokens ** 2, ownNorm ** 2);
  const gradNorm = expertNorms.length === 0 ? ownNorm : Math.sqrt(squared);
  const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
  return { vote: { step, loss, gradNorm, finite, sequenceDigest: slice.digest, lossTokens }, moeSignals };
}

/** Asked once this rank's rows are all with the experts; the answers come when those of all ranks are. */
function askNorms(remote: RemoteExperts | undefined, step: number): Promise<readonly number[]> {
  const norms = remote?.exchange.squaredNorms(step) ?? Promise.resolve([]);
  // Thrown where they are needed; when the step fails before, nobody asks for them.
  norms.catch(() => {});
  return norms;
}

function awaited<T>(remote: RemoteExperts | undefined, answer: Promise<T>): Promise<T> {
  return remote === undefined ? answer : remote.meter.awaiting(answer);
}

/** Measures the exchange from now on. */
function exchangeMeter(remote: RemoteExperts | undefined) {
  const now = () => ({ ...remote?.exchange.stats, waitedSeconds: remote?.meter.seconds ?? 0 });
  const { bytesSent = 0, bytesReceived = 0, waitedSeconds } = now();
  return () => {
    const then = now();
    return {
      bytesSent: (then.bytesSent ?? 0) - bytesSent,
      bytesReceived: (then.bytesReceived ?? 0) - bytesReceived,
      waitingSeconds: then.waitedSeconds - waitedSeconds,
    };
  };
}

/** Returns the learning rate of the step. */
async function applyGradients(parts: StepParts, step: number, buckets: Buckets, vote: StepVote): Promise<number> {
  const inputs = { ...buckets, gradNorm: Float32Array.of(vote.gradNorm), step: Float32Array.of(step) };
  const applied = await parts.executor.run('apply', inputs);
  const learningRate = applied.learningRate?.data[0] ?? Number.NaN;
  release(applied);
  return learningRate;
}

function scheduled({ optimizer, steps }: RunConfig, step: number): number {
  return optimizer.learningRate * scheduleFactorAt(optimizer, steps, step);
}
