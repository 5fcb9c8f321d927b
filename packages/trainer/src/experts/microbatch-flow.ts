import type { ExpertExchange, ExpertRows } from '@weft/collectives';
import { type Executor, elementCount, type Fed, type PhaseRun } from '@weft/engine';
import { type Buckets, release } from '../reduce-gradients.js';
import type { TrainPhase, TrainProgram } from '../train-program.js';
import { exchangeNames } from './remote-experts.js';
import { WaitMeter } from './wait-meter.js';

/** A rank's way to experts that live elsewhere. */
export interface RemoteExperts {
  readonly exchange: ExpertExchange;
  /** The decoder layers that have experts, ascending. */
  readonly layers: readonly number[];
  /** How many microbatches may be under way at a time. */
  readonly microbatchesInFlight: number;
  /** Shows how much of the exchange nothing hides. */
  readonly meter: WaitMeter;
}

export function remoteExpertsOf(
  exchange: ExpertExchange,
  layers: readonly number[],
  microbatchesInFlight: number,
): RemoteExperts {
  return { exchange, layers, microbatchesInFlight, meter: new WaitMeter() };
}

export interface MicrobatchFlowParts {
  readonly executor: Executor;
  readonly program: TrainProgram;
  readonly remote: RemoteExperts;
  readonly step: number;
}

/**
 * Sums the gradients of a step's microbatches with experts elsewhere. While one microbatch waits for its experts, the
 * next one computes. All but the last are taken to their end; of that, everything is given and only the buckets are left
 * to take. Sums are made in the order of the microbatches.
 * @throws WeftError what the exchange met; nothing of any run is left behind.
 */
export async function beginRemoteGradients(
  parts: MicrobatchFlowParts,
  microbatches: readonly Fed[],
): Promise<PhaseRun> {
  const { microbatchesInFlight } = parts.remote;
  let before: Promise<Buckets> = Promise.resolve({});
  const flows: Promise<PhaseRun>[] = [];
  const ends: Promise<unknown>[] = [];
  for (const [index, microbatch] of microbatches.entries()) {
    const sums = before;
    const isLast = index === microbatches.length - 1;
    const mayBegin = ends[index - microbatchesInFlight] ?? Promise.resolve();
    const flow = mayBegin.then(() => throughLayers(parts, index, microbatch, sums));
    flows.push(flow);
    const end = isLast ? flow.then(() => ({})) : flow.then((run) => takeBuckets(parts, run));
    ends.push(end);
    before = end;
  }
  const outcomes = await Promise.allSettled([...flows, ...ends]);
  const failed = outcomes.find(({ status }) => status === 'rejected');
  const last = flows.at(-1) as Promise<PhaseRun>;
  if (failed?.status !== 'rejected') return last;
  await last.then((run) => run.abandon()).catch(() => {});
  throw failed.reason;
}

/** One microbatch forwards and back through all layers with experts; everything is given when it resolves. */
async function throughLayers(
  parts: MicrobatchFlowParts,
  microbatch: number,
  batch: Fed,
  before: Promise<Buckets>,
): Promise<PhaseRun> {
  const { executor, remote } = parts;
  const { meter } = remote;
  const phase: TrainPhase = microbatch === 0 ? 'gradients' : 'accumulate';
  const run = await meter.computing(() => executor.begin(phase, batch));
  try {
    const passed = await forwards(parts, run, microbatch);
    const late = await backwards(parts, run, microbatch, passed);
    const sums = await before;
    await run.advance({ ...late, ...sums }, []);
    release(sums);
    return run;
  } catch (thrown) {
    await run.abandon().catch(() => {});
    // The sums of the microbatch before would have gone into this one.
    await before.then(release, () => {});
    throw thrown;
  }
}

/** What a layer's way forward leaves for its way back. */
interface Forward {
  /** The last layer's results, which are still to be given. */
  readonly late: Fed;
  /** By layer: how many rows of every expert and group are tokens. */
  readonly filled: ReadonlyMap<number, Int32Array>;
}

async function forwards(parts: MicrobatchFlowParts, run: PhaseRun, microbatch: number): Promise<Forward> {
  const { remote, step } = parts;
  const filled = new Map<number, Int32Array>();
  let late: Fed = {};
  for (const layer of remote.layers) {
    const names = exchangeNames(layer);
    const given = late;
    const left = await remote.meter.computing(() => run.advance(given, [names.filled, names.rows]));
    try {
      const filled_EG = Int32Array.from(left[names.filled]?.data ?? []);
      filled.set(layer, filled_EG);
      const rows = { filled_EG, rows_ECD: left[names.rows]?.data as Float32Array };
      const answer = await ask(parts, { direction: 'forward', step, microbatch, layer }, rows, names.outputs);
      late = answer;
    } finally {
      release(left);
    }
  }
  return { late, filled };
}

/** Returns the last layer's results, which are still to be given. */
async function backwards(parts: MicrobatchFlowParts, run: PhaseRun, microbatch: number, passed: Forward): Promise<Fed> {
  const { remote, step } = parts;
  let { late } = passed;
  for (const layer of remote.layers.toReversed()) {
    const names = exchangeNames(layer);
    const given = late;
    const left = await remote.meter.computing(() => run.advance(given, [names.outputGradients]));
    try {
      const filled_EG = passed.filled.get(layer) as Int32Array;
      const rows = { filled_EG, rows_ECD: left[names.outputGradients]?.data as Float32Array };
      late = await ask(parts, { direction: 'backward', step, microbatch, layer }, rows, names.rowGradients);
    } finally {
      release(left);
    }
  }
  return late;
}

/** Asks the experts; resolves with their answer as the late input of that name. */
async function ask(
  { program, remote }: MicrobatchFlowParts,
  subject: Parameters<ExpertExchange['exchange']>[0],
  rows: Omit<ExpertRows, 'answer_ECD'>,
  name: string,
): Promise<Fed> {
  const spec = program.phases.gradients?.inputs[name];
  const answer_ECD = new Float32Array(elementCount(spec?.shape ?? []));
  await remote.meter.awaiting(remote.exchange.exchange(subject, { ...rows, answer_ECD }));
  return { [name]: answer_ECD };
}

async function takeBuckets({ program, remote }: MicrobatchFlowParts, run: PhaseRun): Promise<Buckets> {
  const names = program.buckets.map(({ name }) => name);
  return remote.meter.computing(() => run.advance({}, names));
}
