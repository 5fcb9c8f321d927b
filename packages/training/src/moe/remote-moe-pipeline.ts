// Legend: E experts, C slots of each, G groups of tokens, D width.
import type { ExchangeSubject, ExpertExchange } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { MoeReport } from '@weft/contracts';
import { exchangeNames, type Microbatch } from '@weft/tasks';
import { type HostTensor, type PhaseInputs, type PhaseRun, required } from '@weft/tensor';
import type { HostBuckets } from '../gradient-buckets.js';
import { disposeAll, floatsOf, outputOf } from '../host-tensors.js';
import type { TrainExecutor, TrainProgram } from '../train-program.js';
import { EngineLock, LockedPhaseRun, StallTimer } from './engine-lock.js';

/** A rank's connection to the experts in other processes, for one generation. */
export interface RemoteExperts {
  readonly exchange: ExpertExchange;
  /** The decoder layers with experts, ascending. */
  readonly layers: readonly number[];
  /** How many microbatches may be under way at a time. */
  readonly microbatchesInFlight: number;
  readonly timer: StallTimer;
  readonly lock: EngineLock;
}

/**
 * Prepares the exchange of one generation.
 *
 * @param exchange the connections to all expert workers
 * @param layers the decoder layers with experts, ascending
 * @param microbatchesInFlight how many microbatches may be under way at a time
 */
export function openRemoteExperts(
  exchange: ExpertExchange,
  layers: readonly number[],
  microbatchesInFlight: number,
): RemoteExperts {
  const timer = new StallTimer();
  return { exchange, layers, microbatchesInFlight, timer, lock: new EngineLock(timer) };
}

/** What a microbatch needs to go through its layers. */
interface PipelineParts {
  readonly executor: TrainExecutor;
  readonly remote: RemoteExperts;
  readonly step: number;
}

/**
 * Sums the gradients of a step's microbatches, whose MoE layers have remote experts. While one microbatch waits for its
 * experts, the next one computes. Sums are made in the order of the microbatches. The last one is left running: it has
 * all its inputs, and the caller fetches its buckets.
 * @throws WeftError what the exchange met; every run is then abandoned.
 */
export async function beginRemoteGradients(
  parts: PipelineParts & { readonly program: TrainProgram },
  microbatches: readonly Microbatch[],
): Promise<PhaseRun> {
  const { executor, program, remote } = parts;
  const bucketNames = program.buckets.map(({ name }) => name);
  let sums: Promise<HostBuckets> = Promise.resolve({});
  let last: LockedPhaseRun | undefined;
  const finished: Promise<HostBuckets>[] = [];
  for (const [index, microbatch] of microbatches.entries()) {
    const phase = index === 0 ? 'gradients' : 'accumulate';
    const run = new LockedPhaseRun(() => executor.begin(phase, microbatch), remote.lock);
    const mayBegin = finished[index - remote.microbatchesInFlight] ?? Promise.resolve();
    const pendingInputs = mayBegin.then(() => forwardAndBackward(parts, run, index));
    sums = finish(run, pendingInputs, sums, index === microbatches.length - 1 ? [] : bucketNames);
    finished.push(sums);
    last = run;
  }
  const outcomes = await Promise.allSettled(finished);
  const failed = outcomes.find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
  if (last === undefined) throw new WeftError('internal', 'a step without microbatches');
  return last;
}

/**
 * Takes one microbatch forwards through the phase `evaluate`; the experts keep nothing of it.
 * @throws WeftError what the exchange met; the run is then abandoned.
 */
export async function evaluateRemotely(
  parts: PipelineParts,
  batch: Microbatch,
  microbatch: number,
): Promise<Record<string, HostTensor>> {
  const run = await parts.executor.begin('evaluate', batch);
  try {
    const { pendingInputs } = await forwardPass(parts, run, microbatch, 'evaluate');
    return await run.advance(pendingInputs, ['lossSum', 'lossTokens']);
  } catch (thrown) {
    await run.abandon().catch(() => {});
    throw thrown;
  }
}

/**
 * The squared norms of the gradients that the expert workers hold, one for each. They are asked for at once, and come
 * when the rows of all ranks have; the returned function awaits them.
 * @returns a function that gives [] where there are no expert workers.
 */
export function askExpertNorms(remote: RemoteExperts | undefined, step: number): () => Promise<readonly number[]> {
  if (remote === undefined) return async () => [];
  const norms = remote.exchange.squaredNorms(step);
  // Thrown where they are awaited; when the step fails before, nobody awaits them.
  norms.catch(() => {});
  return () => remote.timer.awaiting(norms);
}

/** Measures the exchange from now on, until the returned function is called. All 0 without expert workers. */
export function measureExchange(remote: RemoteExperts | undefined): () => Omit<MoeReport, 'layers'> {
  const totals = () => ({ ...(remote?.exchange.stats ?? NO_BYTES), waitingSeconds: remote?.timer.seconds ?? 0 });
  const before = totals();
  return () => {
    const after = totals();
    return {
      bytesSent: after.bytesSent - before.bytesSent,
      bytesReceived: after.bytesReceived - before.bytesReceived,
      waitingSeconds: after.waitingSeconds - before.waitingSeconds,
    };
  };
}

const NO_BYTES = { bytesSent: 0, bytesReceived: 0 };

/** Feeds a run its pending inputs and the sums of the microbatches before it, and fetches outputs. */
async function finish(
  run: PhaseRun,
  pending: Promise<PhaseInputs>,
  before: Promise<HostBuckets>,
  outputs: readonly string[],
): Promise<HostBuckets> {
  const [inputs, sums] = await Promise.allSettled([pending, before]);
  try {
    if (inputs.status === 'rejected') throw inputs.reason;
    if (sums.status === 'rejected') throw sums.reason;
    return await run.advance({ ...inputs.value, ...sums.value }, outputs);
  } catch (thrown) {
    await run.abandon().catch(() => {});
    throw thrown;
  } finally {
    if (sums.status === 'fulfilled') disposeAll(sums.value);
  }
}

/** Returns the inputs that the run then waits for, besides the sums of earlier microbatches. */
async function forwardAndBackward(parts: PipelineParts, run: PhaseRun, microbatch: number): Promise<PhaseInputs> {
  return backwardPass(parts, run, microbatch, await forwardPass(parts, run, microbatch, 'forward'));
}

/** What the forward pass of a microbatch leaves for its backward pass. */
interface Forward {
  /** The outputs of the last layer's experts. */
  readonly pendingInputs: PhaseInputs;
  /** By layer: int32 [E, G], how many rows of every expert and group are tokens. */
  readonly tokensPerExpert: ReadonlyMap<number, Int32Array>;
}

/** At every layer the run gives its tokens out, and gets the outputs of the experts when it next advances. */
async function forwardPass(
  parts: PipelineParts,
  run: PhaseRun,
  microbatch: number,
  direction: 'forward' | 'evaluate',
): Promise<Forward> {
  const { remote, step } = parts;
  const tokensPerExpert = new Map<number, Int32Array>();
  let pendingInputs: PhaseInputs = {};
  for (const layer of remote.layers) {
    const names = exchangeNames(layer);
    const given = await run.advance(pendingInputs, [names.tokensPerExpert, names.rows]);
    try {
      const tokensPerExpert_EG = Int32Array.from(outputOf(given, names.tokensPerExpert).data);
      tokensPerExpert.set(layer, tokensPerExpert_EG);
      const answer = await ask(
        remote,
        { direction, step, microbatch, layer },
        tokensPerExpert_EG,
        floatsOf(given, names.rows),
      );
      pendingInputs = { [names.outputs]: answer };
    } finally {
      disposeAll(given);
    }
  }
  return { pendingInputs, tokensPerExpert };
}

/** The same from the last layer to the first, with gradients. Returns those of the first layer's tokens. */
async function backwardPass(
  parts: PipelineParts,
  run: PhaseRun,
  microbatch: number,
  forward: Forward,
): Promise<PhaseInputs> {
  const { remote, step } = parts;
  let { pendingInputs } = forward;
  for (const layer of remote.layers.toReversed()) {
    const names = exchangeNames(layer);
    const given = await run.advance(pendingInputs, [names.outputGradients]);
    try {
      const tokensPerExpert_EG = required(forward.tokensPerExpert, layer);
      const gradients_ECD = floatsOf(given, names.outputGradients);
      const answer = await ask(
        remote,
        { direction: 'backward', step, microbatch, layer },
        tokensPerExpert_EG,
        gradients_ECD,
      );
      pendingInputs = { [names.rowGradients]: answer };
    } finally {
      disposeAll(given);
    }
  }
  return pendingInputs;
}

/** Sends rows to the experts and resolves with their answer, [E, C, D]. */
async function ask(
  { exchange, timer }: RemoteExperts,
  subject: ExchangeSubject,
  tokensPerExpert_EG: Int32Array,
  rows_ECD: Float32Array,
): Promise<Float32Array> {
  const answer_ECD = new Float32Array(rows_ECD.length);
  await timer.awaiting(exchange.exchange(subject, { tokensPerExpert_EG, rows_ECD, answer_ECD }));
  return answer_ECD;
}
