import type { WeftError } from '@weft/common';
import type { Range } from '@weft/topology';

/**
 * `forward`: tokens to experts, outputs back. `backward`: gradients of the outputs there, gradients of the tokens back.
 * `evaluate`: as forward, but nothing is kept for a way back.
 */
export const DIRECTIONS = ['forward', 'backward', 'evaluate'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** How rows travel; in memory they are fp32. */
export const EXCHANGE_PRECISIONS = ['fp32', 'bf16'] as const;
export type ExchangePrecision = (typeof EXCHANGE_PRECISIONS)[number];

/**
 * What every message of a generation has in common. E experts, G groups of tokens, C = G·capacity rows of each expert,
 * D values a row.
 */
export interface ExchangeShape {
  /** The experts of each expert worker, contiguous and in order. */
  readonly placement: readonly Range[];
  /** G, the groups that the tokens of a microbatch are cut into. */
  readonly groups: number;
  /** The rows one group may send to one expert. */
  readonly capacity: number;
  /** D, the width of the model. */
  readonly width: number;
  /** What the rows are rounded to on their way. */
  readonly precision: ExchangePrecision;
}

/** Which call of which step a message belongs to. */
export interface ExchangeSubject {
  readonly direction: Direction;
  readonly step: number;
  /** 0, 1, …: the rank's microbatches of the step, or of a source in the evaluation after it. */
  readonly microbatch: number;
  /** The decoder layer. */
  readonly layer: number;
}

/** The rows of one call. */
export interface ExpertRows {
  /** int32: how many rows of each group and expert travel, the first ones; the others may hold anything. */
  readonly filled_EG: Int32Array;
  readonly rows_ECD: Float32Array;
  /** Where the answer goes; rows that do not travel become 0. */
  readonly answer_ECD: Float32Array;
}

/** Bytes on the wire since the connections were made. */
export interface ExchangeStats {
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/**
 * A rank's way to the experts of one generation, all expert workers together.
 *
 * Every method rejects with
 * - `unavailable` once an expert worker is gone, naming it, at this call and all later ones;
 * - `deadline_exceeded` naming the expert worker that did not answer in time, and what it was asked;
 * - what an expert worker failed with, naming it;
 * - `cancelled` after this rank's signal was aborted or the exchange closed.
 *
 * An exchange that failed once stays failed. After a call has settled its arrays are not touched any more.
 */
export interface ExpertExchange {
  /**
   * Sends the rows of a call to their experts and resolves when the answer is complete. Its arrays may be views on the
   * engine's memory.
   */
  exchange(subject: ExchangeSubject, call: ExpertRows): Promise<void>;
  /** The squared norm of each expert worker's gradient of the step, once it has seen all rows of all ranks. */
  squaredNorms(step: number): Promise<readonly number[]>;
  close(): Promise<void>;
  readonly stats: ExchangeStats;
}

/** What a rank wants of an expert worker. */
export type ExpertRequest = RowsRequest | NormRequest;

export interface RowsRequest extends ExchangeSubject {
  readonly kind: 'rows';
  readonly rank: number;
  /** Of this worker's experts, 0 where nothing was sent. This worker's until `release`. */
  readonly rows_ECD: Float32Array;
  /** Answers the rows that were sent. Resolves when the memory of the answer, of the same shape, may be used again. */
  answer(answer_ECD: Float32Array): Promise<void>;
  /** Gives `rows_ECD` back for later messages. */
  release(): void;
}

export interface NormRequest {
  readonly kind: 'squaredNorm';
  readonly rank: number;
  readonly step: number;
  answer(squaredNorm: number): void;
}

/** An expert worker's end: what all ranks of one generation ask of it. */
export interface ExpertHost {
  /**
   * Requests as they arrive, those of one rank in order; ends after `close`.
   *
   * @throws `unavailable` when a rank is gone, naming it; `corrupt_data` or `invalid_argument` when it sends what cannot
   *   be; `cancelled` when the signal aborts.
   */
  requests(): AsyncIterable<ExpertRequest>;
  /** Tells every rank why this worker cannot go on, and closes. */
  fail(error: WeftError): Promise<void>;
  close(): Promise<void>;
  readonly stats: ExchangeStats;
}
