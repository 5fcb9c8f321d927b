import { WeftError } from '@weft/common';
import type { Wire } from '../link.js';
import { type RingPlace, ringName } from '../ring-place.js';
import { settledWithin } from '../settled-within.js';
import type { ExchangeShape, ExchangeStats, ExpertHost, ExpertRequest } from './exchange.js';
import { blockOf } from './exchange-place.js';
import { BlockPool, RankConnection } from './rank-connection.js';
import { blockLength } from './row-counts.js';

const CLOSE_GRACE_MS = 1_000;

export interface RankConnectionsOptions {
  readonly runId: string;
  readonly generation: number;
  readonly expertWorker: number;
  readonly shape: ExchangeShape;
  /** By rank. */
  readonly wires: readonly Wire[];
  readonly signal?: AbortSignal | undefined;
  readonly onClose?: () => void;
}

/** An expert worker's connections to all ranks of a generation. */
export class RankConnections implements ExpertHost {
  readonly #options: RankConnectionsOptions;
  readonly #connections: readonly RankConnection[];
  readonly #stopListening: () => void;
  #requests: ExpertRequest[] = [];
  #wake: () => void = () => {};
  #isClosed = false;
  #failure: WeftError | undefined;

  constructor(options: RankConnectionsOptions) {
    const { runId, generation, expertWorker, shape, wires, signal } = options;
    this.#options = options;
    const pool = new BlockPool(blockLength(blockOf(shape, expertWorker)));
    const onRequest = (request: ExpertRequest) => {
      this.#requests.push(request);
      this.#wake();
    };
    const onFailure = (error: WeftError) => this.#failed(error);
    this.#connections = wires.map((wire, rank) => {
      const place: RingPlace = { runId, generation, rank, worldSize: wires.length };
      return new RankConnection({ place, expertWorker, shape, wire, pool, onRequest, onFailure });
    });
    const abort = () =>
      this.#failed(new WeftError('cancelled', `the exchange of ${ringName({ runId, generation })} was cancelled`));
    signal?.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) abort();
  }

  get stats(): ExchangeStats {
    const total = (of: keyof ExchangeStats) => this.#connections.reduce((sum, connection) => sum + connection[of], 0);
    return { bytesSent: total('bytesSent'), bytesReceived: total('bytesReceived') };
  }

  async *requests(): AsyncGenerator<ExpertRequest, void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isClosed) return;
      const requests = this.#requests;
      this.#requests = [];
      yield* requests;
      if (this.#requests.length > 0 || this.#failure !== undefined || this.#isClosed) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async fail(error: WeftError): Promise<void> {
    for (const connection of this.#connections) connection.fail(error);
    const closed = Promise.all(this.#options.wires.map((wire) => wire.closed));
    await settledWithin(closed, CLOSE_GRACE_MS);
    await this.close();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopListening();
    for (const connection of this.#connections) connection.close();
    this.#wake();
    this.#options.onClose?.();
  }

  /** Without one rank the step cannot end: the others are left to the coordinator's word. */
  #failed(error: WeftError): void {
    this.#failure ??= error;
    for (const connection of this.#connections) connection.fail(error);
    this.#wake();
  }
}
