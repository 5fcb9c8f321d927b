import type { ExpertExchange, ExpertRows } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { Executor, Fed, HostTensor, PhaseRun } from '@weft/engine';
import { type Buckets, release } from '../reduce-gradients.js';
import type { TrainPhase, TrainProgram } from '../train-program.js';
import { exchangeNames } from './remote-experts.js';
import { RunInTurn } from './run-in-turn.js';
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

/** Where a microbatch goes through its layers. */
interface FlowParts {
  readonly executor: Executor;
  readonly remote: RemoteExperts;
  readonly step: number;
}

export interface MicrobatchFlowParts extends FlowParts {
  readonly program: TrainProgram;
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
  const { executor, program, remote } = parts;
  const names = program.buckets.map(({ name }) => name);
  let before: Promise<Buckets> = Promise.resolve({});
  let last: RunInTurn | undefined;
  const ends: Promise<Buckets>[] = [];
  for (const [index, microbatch] of microbatches.entries()) {
    const phase: TrainPhase = index === 0 ? 'gradients' : 'accumulate';
    const run = new RunInTurn(() => executor.begin(phase, microbatch), remote.meter);
    const mayBegin = ends[index - remote.microbatchesInFlight] ?? Promise.resolve();
    const flow = mayBegin.then(() => throughLayers(parts, run, index));
    before = toItsEnd(run, flow, before, index === microbatches.length - 1 ? [] : names);
    ends.push(before);
    last = run;
  }
  const outcomes = await Promise.allSettled(ends);
  const failed = outcomes.find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
  if (last === undefined) throw new WeftError('internal', 'a step without microbatches');
  return last;
}

/**
 * Takes one microbatch forwards through the phase `evaluate`; the experts keep nothing of it.
 * @throws WeftError what the exchange met; nothing of the run is left behind.
 */
export async function evaluateRemotely(
  parts: FlowParts,
  batch: Fed,
  microbatch: number,
): Promise<Record<string, HostTensor>> {
  const run = await parts.executor.begin('evaluate', batch);
  try {
    const { late } = await forwards(parts, run, microbatch, 'evaluate');
    return await run.advance(late, ['lossSum', 'lossTokens']);
  } catch (thrown) {
    await run.abandon().catch(() => {});
    throw thrown;
  }
}

/** Gives a run what it still lacks, with the sums of the microbatch before it, and takes what is named. */
async function toItsEnd(
  run: RunInTurn,
  flow: Promise<Fed>,
  before: Promise<Buckets>,
  names: readonly string[],
): Promise<Buckets> {
  const [late, sums] = await Promise.allSettled([flow, before]);
  try {
    if (late.status === 'rejected') throw late.reason;
    if (sums.status === 'rejected') throw sums.reason;
    return await run.advance({ ...late.value, ...sums.value }, names);
  } catch (thrown) {
    await run.abandon().catch(() => {});
    throw thrown;
  } finally {
    if (sums.status === 'fulfilled') release(sums.value);
  }
}

/** One microbatch forwards and back through all layers with experts; returns what is still to be given. */
async function throughLayers(parts: FlowParts, run: PhaseRun, microbatch: number): Promise<Fed> {
  return backwards(parts, run, microbatch, await forwards(parts, run, microbatch, 'forward'));
}

/** What a layer's way forward leaves for its way back. */
interface Forward {
  /** The last layer's results, which are still to be given. */
  readonly late: Fed;
  /** By layer: how many rows of every expert and group are tokens. */
  readonly filled: ReadonlyMap<number, Int32Array>;
}

async function forwards(
  parts: FlowParts,
  run: PhaseRun,
  microbatch: number,
  direction: 'forward' | 'evaluate',
): Promise<Forward> {
  const { remote, step } = parts;
  const filled = new Map<number, Int32Array>();
  let late: Fed = {};
  for (const layer of remote.layers) {
    const names = exchangeNames(layer);
    const left = await run.advance(late, [names.filled, names.rows]);
    try {
      const filled_EG = Int32Array.from(left[names.filled]?.data ?? []);
      filled.set(layer, filled_EG);
      const rows = { filled_EG, rows_ECD: left[names.rows]?.data as Float32Array };
      const answer = await ask(parts, { direction, step, microbatch, layer }, rows, names.outputs);
      late = answer;
    } finally {
      release(left);
    }
  }
  return { late, filled };
}

/** Returns the last layer's results, which are still to be given. */
async function backwards(parts: FlowParts, run: PhaseRun, microbatch: number, passed: Forward): Promise<Fed> {
  const { remote, step } = parts;
  let { late } = passed;
  for (const layer of remote.layers.toReversed()) {
    const names = exchangeNames(layer);
    const left = await run.advance(late, [names.outputGradients]);
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
  { remote }: FlowParts,
  subject: Parameters<ExpertExchange['exchange']>[0],
  rows: Omit<ExpertRows, 'answer_ECD'>,
  name: string,
): Promise<Fed> {
  const answer_ECD = new Float32Array(rows.rows_ECD.length);
  await remote.meter.awaiting(remote.exchange.exchange(subject, { ...rows, answer_ECD }));
  return { [name]: answer_ECD };
}
