import type { WeftError } from '@weft/common';
import type { DeviceSpan, ResidentTensor } from '@weft/tensor';
import type { Range } from '@weft/topology';
import type { NcclLibrary } from '../nccl/library.js';

/**
 * The exchange of MoE rows between ranks and expert workers: what both ends agree on, and the port of either end.
 * Shapes: E experts, G groups of tokens, C = G·capacity rows of each expert, D values in a row.
 */

/**
 * `forward`: tokens to experts, their outputs back. `backward`: gradients of the outputs to experts, gradients of the
 * tokens back. `evaluate`: as forward, but the expert worker keeps nothing for a backward pass.
 */
export const DIRECTIONS = ['forward', 'backward', 'evaluate'] as const;
/** One of `DIRECTIONS`. */
export type Direction = (typeof DIRECTIONS)[number];

/** How rows are encoded on the wire; in memory they are fp32. */
export const EXCHANGE_PRECISIONS = ['fp32', 'bf16'] as const;
/** One of `EXCHANGE_PRECISIONS`. */
export type ExchangePrecision = (typeof EXCHANGE_PRECISIONS)[number];

/** The same for all messages of a generation; both ends derive it from the run's configuration. */
export interface ExchangeShape {
  /** The experts of each expert worker, contiguous and in order. */
  readonly placement: readonly Range[];
  /** G, the groups that the tokens of a microbatch are cut into. */
  readonly groups: number;
  /** The rows one group may send to one expert. */
  readonly capacity: number;
  /** D, the width of the model. */
  readonly width: number;
  /** What rows are rounded to on the wire. */
  readonly precision: ExchangePrecision;
}

/** The rows of a step that a message carries. */
export interface ExchangeSubject {
  readonly direction: Direction;
  readonly step: number;
  /** 0, 1, …: the rank's microbatches of the step, or of a source in the evaluation after it. */
  readonly microbatch: number;
  /** The decoder layer. */
  readonly layer: number;
}

/** The rows of one call, for all experts. */
export interface ExpertRows {
  /** int32: for each expert and group, how many of its first rows are sent; the others may hold anything. */
  readonly tokensPerExpert_EG: Int32Array;
  readonly rows_ECD: Float32Array;
  /** Receives the answer; rows that were not sent become 0. */
  readonly answer_ECD: Float32Array;
}

/** The same where both ends have GPUs: the rows stay in their memory. */
export interface DeviceExpertRows {
  readonly tokensPerExpert_EG: Int32Array;
  /** [E, C, D], computed already. */
  readonly rows: DeviceSpan;
  /** [E, C, D], receives the answer; rows that were not sent become 0. */
  readonly answer: DeviceSpan;
}

/** Bytes on the wire since the connections were made. */
export interface ExchangeStats {
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** What a process brings to an exchange between the memories of GPUs. */
export interface ExchangeDevices {
  /** Undefined where rows cannot leave the memory of this process's device. */
  readonly library: NcclLibrary | undefined;
  /** Why, in words that follow "rank 1: ". */
  readonly missing?: string | undefined;
}

/** All members of a generation come to the same one. */
export type DevicesOutcome =
  | { readonly description: string; readonly reason?: undefined }
  | { readonly reason: string; readonly description?: undefined };

/**
 * A rank's end: its access to the experts of one generation, over all expert workers.
 *
 * Every method rejects with
 * - `unavailable` naming the expert worker that is gone, at this call and all later ones;
 * - `deadline_exceeded` naming the expert worker that did not answer in time, and the request;
 * - the error of an expert worker that failed, naming it;
 * - `cancelled` after this rank's signal aborted or the exchange was closed.
 *
 * An exchange that failed stays failed. After a call has settled its arrays are no longer touched.
 */
export interface ExpertExchange {
  /**
   * Sends rows to their experts; resolves when the answer is complete. The arrays may be views of the engine's memory.
   *
   * @throws WeftError `invalid_argument` for arrays of another length than the shape implies.
   */
  exchange(subject: ExchangeSubject, call: ExpertRows): Promise<void>;
  /** Settles with all ranks and expert workers whether rows go from device to device; before the first request. */
  openDevices(devices: ExchangeDevices): Promise<DevicesOutcome>;
  /**
   * As `exchange`, from device to device, once `openDevices` has opened the way. The memory is left alone until it settles.
   * @throws WeftError `invalid_argument` for spans of another length than the shape implies
   */
  exchangeOnDevices(subject: ExchangeSubject, call: DeviceExpertRows): Promise<void>;
  /** The squared norm of each expert worker's gradients of the step, answered once the rows of all ranks are in. */
  squaredNorms(step: number): Promise<readonly number[]>;
  close(): Promise<void>;
  readonly stats: ExchangeStats;
}

/** A rank's request to an expert worker. */
export type ExpertRequest = RowsRequest | NormRequest;

/** A rank's request to run experts on rows. */
export type RowsRequest = HostRowsRequest | DeviceRowsRequest;

/** One whose rows are on the host. */
export interface HostRowsRequest extends ExchangeSubject {
  readonly kind: 'rows';
  readonly rank: number;
  /** Of this worker's experts, 0 where no row was sent. Valid until `release`. */
  readonly rows_ECD: Float32Array;
  /**
   * Answers the rows that were sent. Resolves when the memory of the answer may be reused.
   *
   * @throws WeftError `internal` for an answer of another length than `rows_ECD`.
   */
  answer(answer_ECD: Float32Array): Promise<void>;
  /** Frees `rows_ECD` for later messages. */
  release(): void;
}

/** One whose rows are in the memory of this worker's device. */
export interface DeviceRowsRequest extends ExchangeSubject {
  readonly kind: 'deviceRows';
  readonly rank: number;
  /** [E, C, D] of this worker's experts, 0 where no row was sent. Valid until `release`. */
  readonly rows: ResidentTensor;
  /** Answers the rows that were sent, once they are computed. Resolves when the answer may be freed; never rejects. */
  answer(answer: ResidentTensor): Promise<void>;
  /** Frees `rows`. */
  release(): void;
}

/** A rank's request for the squared norm of the worker's gradients. */
export interface NormRequest {
  readonly kind: 'squaredNorm';
  readonly rank: number;
  readonly step: number;
  answer(squaredNorm: number): void;
}

/** An expert worker's end: the requests of all ranks of one generation. */
export interface ExpertHost {
  /**
   * Requests as they arrive, those of one rank in order; ends after `close`.
   *
   * @throws WeftError `unavailable` naming the rank that is gone; `corrupt_data` or `invalid_argument` for messages that
   *   do not fit the shape; `cancelled` when the signal aborts.
   */
  requests(): AsyncIterable<ExpertRequest>;
  /**
   * Settles with all ranks whether rows go from device to device; before the first request.
   * @param allocate gives memory for the rows of one request, [E, C, D]
   */
  openDevices(devices: ExchangeDevices, allocate: () => Promise<ResidentTensor>): Promise<DevicesOutcome>;
  /** Sends every rank the reason why this worker cannot go on, and closes. */
  fail(error: WeftError): Promise<void>;
  close(): Promise<void>;
  readonly stats: ExchangeStats;
}
