import { SerialQueue, sleep, type WeftError } from '@weft/common';
import type { DeviceSpan } from '@weft/tensor';
import type { Address, NcclLibrary } from './library.js';

/** A span that goes to, or comes from, the device with the same number of another rank. */
export interface DeviceTransfer extends DeviceSpan {
  readonly peer: number;
}

/** Bytes between the devices of this process and those of others, since the communicators were opened. */
export interface TransferStats {
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

interface CommunicatorsOptions {
  readonly library: NcclLibrary;
  /** Of this rank's devices, one communicator for each: the devices with the same number of all ranks form one. */
  readonly ids: readonly Uint8Array[];
  readonly rank: number;
  readonly worldSize: number;
  /**
   * How the end of an operation is noticed: a thread of the pool waits for it, or it is asked for again and again, at first at
   * every turn of the event loop. Default: a thread.
   */
  readonly waiting?: 'thread' | 'polling';
}

/** How often a communicator that is being opened is asked; nothing waits for the answer but the run's start. */
const OPENING_POLL_MS = 5;
/** So long an operation is asked for at every turn of the event loop, then every millisecond. */
const EAGER_MS = 1;

/**
 * The communicators of one rank in one generation, and a stream for each. Operations run one after the other; the memory
 * they work on belongs to the caller, who says when it is computed and does not touch it until the operation settled.
 */
export class Communicators {
  readonly #library: NcclLibrary;
  readonly #devices: readonly { readonly communicator: Address; readonly stream: Address }[];
  readonly #worldSize: number;
  readonly #waiting: 'thread' | 'polling';
  readonly #operations = new SerialQueue();
  #closed: WeftError | undefined;
  #freeing: Promise<void> | undefined;
  #bytesSent = 0;
  #bytesReceived = 0;

  /** Begins to open them. Call `opened` next. */
  constructor({ library, ids, rank, worldSize, waiting = 'thread' }: CommunicatorsOptions) {
    this.#library = library;
    this.#waiting = waiting;
    this.#worldSize = worldSize;
    const streams = ids.map((_, device) => library.createStream(device));
    const communicators: Address[] = [];
    library.group(() => {
      for (const [device, id] of ids.entries()) {
        communicators.push(library.beginCommunicator(id, { device, rank, worldSize }));
      }
    });
    this.#devices = communicators.map((communicator, device) => ({ communicator, stream: streams[device]! }));
  }

  /** A sum counts as what a ring of the ranks would send of it: the library does not tell which way it took. */
  get stats(): TransferStats {
    return { bytesSent: this.#bytesSent, bytesReceived: this.#bytesReceived };
  }

  /** Resolves when every rank has opened them. @throws WeftError why they cannot be, or the error that `close` was given. */
  async opened(): Promise<void> {
    while (!this.#isReady()) await sleep(OPENING_POLL_MS);
  }

  /** Replaces the values of every span by their sums over all ranks. @throws WeftError `unavailable` with NCCL's text, or what `close` was given. */
  async allReduceSum(spans: readonly DeviceSpan[]): Promise<void> {
    await this.#run(spans, () => {
      for (const { device, address, elements } of spans) {
        const { communicator, stream } = this.#devices[device]!;
        this.#library.allReduceSum(address, elements, communicator, stream);
      }
    });
    const bytes = (2 * bytesOf(spans) * (this.#worldSize - 1)) / this.#worldSize;
    this.#bytesSent += bytes;
    this.#bytesReceived += bytes;
  }

  /**
   * Sends and receives at the same time. Lengths must be those that the peers name.
   * @param unused what is set to 0 before
   * @throws WeftError as `allReduceSum`
   */
  async exchange(
    sends: readonly DeviceTransfer[],
    receives: readonly DeviceTransfer[],
    unused: readonly DeviceSpan[] = [],
  ): Promise<void> {
    const clear = () => {
      for (const span of unused) this.#library.clear(span, this.#devices[span.device]!.stream);
    };
    await this.#run(
      [...sends, ...receives, ...unused],
      () => {
        for (const { device, address, elements, peer } of sends) {
          const { communicator, stream } = this.#devices[device]!;
          this.#library.send(address, elements, peer, communicator, stream);
        }
        for (const { device, address, elements, peer } of receives) {
          const { communicator, stream } = this.#devices[device]!;
          this.#library.receive(address, elements, peer, communicator, stream);
        }
      },
      clear,
    );
    this.#bytesSent += bytesOf(sends);
    this.#bytesReceived += bytesOf(receives);
  }

  /** Ends the operations under way, which reject with `error` as all later ones do, and frees everything. */
  close(error: WeftError): Promise<void> {
    this.#closed ??= error;
    this.#freeing ??= this.#free();
    return this.#freeing;
  }

  #run(spans: readonly DeviceSpan[], start: () => void, before: () => void = () => {}): Promise<void> {
    return this.#operations.run(async () => {
      if (this.#closed !== undefined) throw this.#closed;
      const devices = new Set(spans.map(({ device }) => device));
      try {
        before();
        this.#library.group(start);
        // Without blocking, a group may still be starting when its last line returns; it is not on the stream before.
        while (!this.#isReady()) await sleep(0);
        // One after the other, so that one thread waits and not one for every device.
        for (const device of devices) await this.#untilIdle(this.#devices[device]!.stream);
        this.#isReady();
      } catch (thrown) {
        throw this.#closed ?? thrown;
      }
    });
  }

  async #untilIdle(stream: Address): Promise<void> {
    if (this.#waiting === 'thread') return this.#library.synchronize(stream);
    const begunMs = performance.now();
    while (!this.#library.isIdle(stream)) {
      if (performance.now() - begunMs < EAGER_MS) await new Promise((resolve) => setImmediate(resolve));
      else await sleep(1);
    }
  }

  #isReady(): boolean {
    if (this.#closed !== undefined) throw this.#closed;
    return this.#devices.every(({ communicator }) => this.#library.isReady(communicator));
  }

  /** One thread at a time: the engine needs the others. An operation leaves its stream when its communicator is gone. */
  async #free(): Promise<void> {
    for (const { communicator } of this.#devices) await this.#library.abortCommunicator(communicator);
    await this.#operations.idle();
    for (const { stream } of this.#devices) await this.#library.destroyStream(stream);
  }
}

function bytesOf(spans: readonly DeviceSpan[]): number {
  return spans.reduce((sum, { elements }) => sum + elements * Float32Array.BYTES_PER_ELEMENT, 0);
}
