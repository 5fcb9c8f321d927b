// Legend: E experts, C slots of each, G groups of tokens, D width.
import type { ExchangeSubject, ExpertExchange } from '@weft/collectives';
import { refuse, WeftError } from '@weft/common';
import type { MoeReport } from '@weft/contracts';
import { exchangeNames, type Microbatch } from '@weft/tasks';
import {
  type DeviceSpan,
  type HostTensor,
  type PhaseInputs,
  type PhaseRun,
  type ResidentTensor,
  required,
} from '@weft/tensor';
import type { Buckets } from '../gradient-buckets.js';
import { disposeAll, floatsOf, outputOf } from '../host-tensors.js';
import { noSpans, type SpanNotes } from '../ports.js';
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
  /** Gives memory for an answer, [E, C, D], where rows go from device to device; default: they go by way of the host. */
  readonly allocate?: (() => Promise<ResidentTensor>) | undefined;
  readonly spans: SpanNotes;
}

/**
 * Prepares the exchange of one generation.
 *
 * @param exchange the connections to all expert workers
 * @param layers the decoder layers with experts, ascending
 * @param microbatchesInFlight how many microbatches may be under way at a time
 * @param allocate gives memory for an answer, where rows go from device to device
 * @param spans default: nothing is noted
 */
export function openRemoteExperts(
  exchange: ExpertExchange,
  layers: readonly number[],
  microbatchesInFlight: number,
  allocate?: RemoteExperts['allocate'],
  spans: SpanNotes = noSpans,
): RemoteExperts {
  const timer = new StallTimer();
  return { exchange, layers, microbatchesInFlight, timer, lock: new EngineLock(timer), allocate, spans };
}

/** What a microbatch needs to go through its layers. */
interface PipelineParts {
  readonly executor: TrainExecutor;
  readonly program: TrainProgram;
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
  parts: PipelineParts,
  microbatches: readonly Microbatch[],
): Promise<PhaseRun> {
  const { executor, program, remote } = parts;
  const bucketNames = program.buckets.map(({ name }) => name);
  let sums: Promise<Buckets> = Promise.resolve({});
  let last: LockedPhaseRun | undefined;
  const finished: Promise<Buckets>[] = [];
  for (const [index, microbatch] of microbatches.entries()) {
    const phase = program.phaseOf(index === 0 ? 'gradients' : 'accumulate', microbatch);
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
  const run = await parts.executor.begin(parts.program.phaseOf('evaluate', batch), batch);
  try {
    const { pendingInputs } = await forwardPass(parts, run, microbatch, 'evaluate');
    const outputs = await run.advance(pendingInputs, ['lossSum', 'lossTokens']);
    freeAnswers(pendingInputs);
    return outputs;
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
  before: Promise<Buckets>,
  outputs: readonly string[],
): Promise<Buckets> {
  const [inputs, sums] = await Promise.allSettled([pending, before]);
  try {
    if (inputs.status === 'rejected') throw inputs.reason;
    if (sums.status === 'rejected') throw sums.reason;
    return await run.keep({ ...inputs.value, ...sums.value }, outputs);
  } catch (thrown) {
    await run.abandon().catch(() => {});
    throw thrown;
  } finally {
    if (sums.status === 'fulfilled') disposeAll(sums.value);
    if (inputs.status === 'fulfilled') freeAnswers(inputs.value);
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
    // Where rows stay on the device, their numbers leave alone.
    const early = remote.allocate === undefined ? [names.tokensPerExpert, names.rows] : [names.tokensPerExpert];
    const given = await run.advance(pendingInputs, early);
    try {
      freeAnswers(pendingInputs);
      const tokensPerExpert_EG = Int32Array.from(outputOf(given, names.tokensPerExpert).data);
      tokensPerExpert.set(layer, tokensPerExpert_EG);
      const subject = { direction, step, microbatch, layer };
      const answer =
        remote.allocate === undefined
          ? await ask(remote, subject, tokensPerExpert_EG, floatsOf(given, names.rows))
          : await askOnDevice(remote, subject, tokensPerExpert_EG, await run.keep({}, [names.rows]), names.rows);
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
    const subject = { direction: 'backward', step, microbatch, layer } as const;
    const tokensPerExpert_EG = required(forward.tokensPerExpert, layer);
    if (remote.allocate !== undefined) {
      const kept = await run.keep(pendingInputs, [names.outputGradients]);
      freeAnswers(pendingInputs);
      const answer = await askOnDevice(remote, subject, tokensPerExpert_EG, kept, names.outputGradients);
      pendingInputs = { [names.rowGradients]: answer };
      continue;
    }
    const given = await run.advance(pendingInputs, [names.outputGradients]);
    try {
      const answer = await ask(remote, subject, tokensPerExpert_EG, floatsOf(given, names.outputGradients));
      pendingInputs = { [names.rowGradients]: answer };
    } finally {
      disposeAll(given);
    }
  }
  return pendingInputs;
}

/** Sends rows to the experts and resolves with their answer, [E, C, D]. */
async function ask(
  { exchange, timer, spans }: RemoteExperts,
  subject: ExchangeSubject,
  tokensPerExpert_EG: Int32Array,
  rows_ECD: Float32Array,
): Promise<Float32Array> {
  const answer_ECD = new Float32Array(rows_ECD.length);
  const beganMs = performance.now();
  await timer.awaiting(exchange.exchange(subject, { tokensPerExpert_EG, rows_ECD, answer_ECD }));
  noteExchange(spans, subject, beganMs);
  return answer_ECD;
}

/** The same from device to device. Frees the rows. */
async function askOnDevice(
  { exchange, timer, allocate, spans }: RemoteExperts,
  subject: ExchangeSubject,
  tokensPerExpert_EG: Int32Array,
  kept: Readonly<Record<string, ResidentTensor>>,
  name: string,
): Promise<ResidentTensor> {
  const rows = required(new Map(Object.entries(kept)), name);
  const beganMs = performance.now();
  let answer: ResidentTensor | undefined;
  try {
    const into = (await allocate?.()) ?? refuse('internal', 'no memory for an answer');
    answer = into;
    await lent(rows, (from) =>
      lent(into, (to) =>
        timer.awaiting(exchange.exchangeOnDevices(subject, { tokensPerExpert_EG, rows: from, answer: to })),
      ),
    );
    noteExchange(spans, subject, beganMs);
    return into;
  } catch (thrown) {
    answer?.dispose();
    throw thrown;
  } finally {
    rows.dispose();
  }
}

function noteExchange(spans: SpanNotes, { direction, microbatch, layer }: ExchangeSubject, beganMs: number): void {
  spans.add('exchanges', `${direction}, layer ${layer}`, beganMs, { microbatch });
}

/** Lends the memory of a tensor that one device holds whole. */
async function lent(tensor: ResidentTensor, work: (memory: DeviceSpan) => Promise<void>): Promise<void> {
  await tensor.lend?.(([memory]) =>
    memory === undefined ? Promise.reject(new WeftError('internal', 'rows lie on no device')) : work(memory),
  );
}

/** Of the devices, once the engine was fed with them: it has its own reference. Safe to call twice. */
function freeAnswers(inputs: PhaseInputs): void {
  for (const value of Object.values(inputs)) if ('dispose' in value) value.dispose();
}
