import type { ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { BatchArrays, SliceLoader, StepSlice } from '@weft/data';
import type { Executor, PhaseRun } from '@weft/engine';
import { scheduleFactorAt } from '@weft/optim';
import type { CoordinatorLink, StepReport, StepVote } from './ports.js';
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
  const { config, executor, group, link, loader, program } = parts;
  const watch = new Stopwatch();

  const slice = await loader.load(step, group.rank, group.worldSize);
  const dataSeconds = watch.lap();

  const backward = await beginGradients(executor, slice.microbatches);
  let computeSeconds = 0;
  const buckets = await reduceGradients(backward, program.buckets, group, () => {
    computeSeconds = watch.lap();
  });
  try {
    let communicationSeconds = watch.lap();

    const vote = await measure(parts, step, buckets, slice);
    computeSeconds += watch.lap();

    const { apply } = await link.vote(vote);
    communicationSeconds += watch.lap();

    const learningRate = apply ? await applyGradients(parts, step, buckets, vote) : scheduled(config, step);
    const applySeconds = watch.lap();

    const tokensPerSecond = (config.globalBatchSize * config.model.sequenceLength) / watch.total();
    const seconds = { dataSeconds, computeSeconds, communicationSeconds, applySeconds };
    return {
      report: { step, learningRate, tokensPerSecond, ...seconds },
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

async function measure(parts: StepParts, step: number, buckets: Buckets, slice: StepSlice): Promise<StepVote> {
  const measured = await parts.executor.run('measure', buckets);
  const read = (name: string) => measured[name]?.data[0] ?? Number.NaN;
  const [loss, gradNorm, lossTokens] = [read('loss'), read('gradNorm'), read('lossTokens')];
  release(measured);
  const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
  return { step, loss, gradNorm, finite, sequenceDigest: slice.digest, lossTokens };
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
