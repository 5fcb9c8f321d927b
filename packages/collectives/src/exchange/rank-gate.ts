import { WeftError } from '@weft/common';
import { type Hello, knowsToken, welcome } from '../handshake.js';
import type { Wire } from '../link.js';
import type { Door } from '../rendezvous.js';
import { expertWorkerName } from './exchange-place.js';

export interface RankGateOptions {
  readonly runId: string;
  readonly generation: number;
  readonly expertWorker: number;
  readonly worldSize: number;
  readonly token: string;
}

/** Lets in one connection of every rank, to an expert worker. */
export class RankGate implements Door {
  /** Resolves when every rank is connected, by rank. */
  readonly wires: Promise<readonly Wire[]>;
  readonly #options: RankGateOptions;
  readonly #onClose: () => void;
  readonly #admitted = new Map<number, Wire>();
  #complete: (wires: readonly Wire[]) => void = () => {};
  #done = false;

  constructor(options: RankGateOptions, onClose: () => void) {
    this.#options = options;
    this.#onClose = onClose;
    this.wires = new Promise((resolve) => {
      this.#complete = resolve;
    });
  }

  /** The ranks that have not called. */
  get missing(): readonly number[] {
    const ranks = Array.from({ length: this.#options.worldSize }, (_, rank) => rank);
    return ranks.filter((rank) => !this.#admitted.has(rank));
  }

  admit(hello: Hello, wire: Wire): void {
    const { expertWorker, token, worldSize } = this.#options;
    const me = expertWorkerName(this.#options, expertWorker);
    const refuse = (code: 'failed_precondition' | 'invalid_argument' | 'already_exists', message: string) => {
      throw new WeftError(code, message);
    };
    const { rank } = hello;
    if (!knowsToken(hello, token)) refuse('failed_precondition', `rank ${rank} does not know the token of ${me}`);
    if (hello.expertWorker !== expertWorker)
      refuse('invalid_argument', `rank ${rank} called expert worker ${hello.expertWorker}, but this is ${me}`);
    if (hello.worldSize !== worldSize || rank >= worldSize)
      refuse('invalid_argument', `rank ${rank} of ${hello.worldSize} called ${me}, which waits for ${worldSize} ranks`);
    if (this.#done || this.#admitted.has(rank)) refuse('already_exists', `rank ${rank} is connected to ${me} already`);
    welcome(wire, hello, token);
    this.#admitted.set(rank, wire);
    void wire.closed.then(() => {
      if (!this.#done && this.#admitted.get(rank) === wire) this.#admitted.delete(rank);
    });
    if (this.missing.length > 0) return;
    this.#done = true;
    this.#complete([...this.#admitted.keys()].sort((a, b) => a - b).map((each) => this.#admitted.get(each)!));
  }

  /** Lets nobody in any more, and hangs up on those who came when others did not. */
  close(): void {
    if (!this.#done) for (const wire of this.#admitted.values()) wire.destroy();
    this.#done = true;
    this.#onClose();
  }
}
