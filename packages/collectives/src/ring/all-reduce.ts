import { deferred } from '@weft/common';
import { ringChunks } from '@weft/topology';
import { asBytes, type ByteSink, type Sender } from '../transport/duplex.js';
import type { SimdAccumulator } from '../transport/simd-accumulator.js';

/**
 * What one rank receives and sends in one collective operation, each in order. The SendOps of a rank are the RecvOps of
 * the next rank, in the same order, so the bytes need no labels.
 */
export interface RingSchedule {
  readonly incoming: readonly RecvOp[];
  readonly outgoing: readonly SendOp[];
}

interface RecvOp {
  /** Where the received bytes go. */
  readonly bytes: Uint8Array;
  /** Whether they are float32 values to add to those already there, instead of replacing them. */
  readonly sum: boolean;
}

interface SendOp {
  readonly bytes: Uint8Array;
  /** The index of the RecvOp that brings these bytes; each byte may leave once it has arrived. `undefined`: all are there. */
  readonly dependsOn: number | undefined;
}

/** Small enough that a block is still in the cache when it is sent on. */
const BLOCK_VALUES = 65_536;
/** Between two rounds of a block lie this many others, which gives the neighbour time to have it ready. */
const LAG_BLOCKS = 2;

/**
 * Ring reduce-scatter, followed by the all-gather if `gather` is set. In round s rank r sends chunk r−1−s and adds what
 * arrives to chunk r−2−s. After worldSize−1 rounds chunk r holds the sum over all ranks, added in the order
 * r+1, r+2, …, r: the same in every run. Another worldSize−1 rounds pass the finished chunks on.
 *
 * Each chunk is cut into blocks, and the rounds of different blocks are interleaved: block b has round s at time
 * b + s·LAG_BLOCKS. A block is sent on soon after it arrived, and no rank waits for a whole chunk.
 */
export function reduceSchedule(values: Float32Array, rank: number, worldSize: number, gather: boolean): RingSchedule {
  const chunks = ringChunks(values.length, worldSize);
  const blocks = Math.ceil((chunks[0]!.end - chunks[0]!.first) / BLOCK_VALUES);
  const rounds = (worldSize - 1) * (gather ? 2 : 1);
  const blockBytes = (chunk: number, block: number): Uint8Array => {
    const { first, end } = chunks[(chunk + 2 * worldSize) % worldSize]!;
    const start = Math.min(end, first + block * BLOCK_VALUES);
    return asBytes(values.subarray(start, Math.min(end, start + BLOCK_VALUES)));
  };
  // What arrives in a round is sent in the next one; in the all-gather the chunk numbers go on falling.
  const sentBytes = (block: number, round: number) => blockBytes(rank - 1 - (round % worldSize), block);
  const incoming: RecvOp[] = [];
  const outgoing: SendOp[] = [];
  /** By block and round, the index of the RecvOp. */
  const received = new Map<number, number>();
  for (let time = 0; time < blocks + (rounds - 1) * LAG_BLOCKS; time++)
    for (let round = rounds - 1; round >= 0; round--) {
      const block = time - round * LAG_BLOCKS;
      if (block < 0 || block >= blocks) continue;
      outgoing.push({
        bytes: sentBytes(block, round),
        dependsOn: round === 0 ? undefined : received.get(block * rounds + round - 1),
      });
      received.set(block * rounds + round, incoming.length);
      incoming.push({ bytes: sentBytes(block, round + 1), sum: round < worldSize - 1 });
    }
  return { incoming, outgoing };
}

/** All-gather: `parts[rank]` goes around the ring, the other parts arrive in place. */
export function allGatherSchedule(parts: readonly Uint8Array[], rank: number): RingSchedule {
  const worldSize = parts.length;
  const part = (owner: number) => parts[(owner + worldSize) % worldSize]!;
  const incoming = parts.slice(1).map((_, round) => ({ bytes: part(rank - 1 - round), sum: false }));
  const outgoing = incoming.map((_, round) => ({
    bytes: part(rank - round),
    dependsOn: round === 0 ? undefined : round - 1,
  }));
  return { incoming, outgoing };
}

/** Broadcast: `bytes` go from `root` along the ring, up to the rank before it. */
export function broadcastSchedule(bytes: Uint8Array, root: number, rank: number, worldSize: number): RingSchedule {
  const last = (root + worldSize - 1) % worldSize;
  return {
    incoming: rank === root ? [] : [{ bytes, sum: false }],
    outgoing: rank === last ? [] : [{ bytes, dependsOn: rank === root ? undefined : 0 }],
  };
}

/** Large reads save system calls, small ones let the next rank start sooner; this size measured best. */
const MAX_READ_BYTES = 262_144;

/**
 * One rank's work in one collective operation: receives what the previous rank sends, adds it or puts it in place, and
 * sends on what is ready. Receiving, adding and sending overlap. There is at most one write at a time; the next one includes
 * everything that became ready meanwhile.
 */
export class RingOperation implements ByteSink {
  /** Resolves when everything has arrived and all written memory may be reused; stays pending after `stop`. */
  readonly done: Promise<void>;
  bytesSent = 0;
  bytesReceived = 0;
  readonly #finish: () => void;
  readonly #recvOps: readonly RecvOp[];
  readonly #sendOps: readonly SendOp[];
  readonly #sender: Pick<Sender, 'write'>;
  readonly #accumulator: SimdAccumulator;
  #isStopped = false;

  /** The current RecvOp, and how many of its bytes are in place. */
  #recvIndex = 0;
  #recvBytes = 0;
  /** Bytes of a float32 value whose rest has not arrived; they wait at the start of the scratch memory. */
  #partialBytes = 0;

  /** The current SendOp, and how many of its bytes were written. */
  #sendIndex = 0;
  #sentBytes = 0;
  #isWriting = false;

  /** @param header is sent before everything else */
  constructor(header: Uint8Array, schedule: RingSchedule, sender: Pick<Sender, 'write'>, accumulator: SimdAccumulator) {
    this.#recvOps = schedule.incoming;
    this.#sendOps = [{ bytes: header, dependsOn: undefined }, ...schedule.outgoing];
    this.#sender = sender;
    this.#accumulator = accumulator;
    ({ promise: this.done, resolve: this.#finish } = deferred());
    this.#skipEmptyRecvOps();
  }

  get receivedAll(): boolean {
    return this.#recvIndex === this.#recvOps.length;
  }

  get sentAll(): boolean {
    return !this.#isWriting && this.#sendIndex === this.#sendOps.length;
  }

  /** Sends what needs no received bytes. Call once, before the first `target`. */
  start(): void {
    this.#send();
  }

  /** From now on no memory of the schedule is touched. */
  stop(): void {
    this.#isStopped = true;
  }

  target(): Uint8Array | undefined {
    const recvOp = this.#recvOps[this.#recvIndex];
    if (recvOp === undefined || this.#isStopped) return undefined;
    const rest = recvOp.bytes.length - this.#recvBytes;
    if (!recvOp.sum) return recvOp.bytes.subarray(this.#recvBytes, this.#recvBytes + Math.min(rest, MAX_READ_BYTES));
    const { scratch } = this.#accumulator;
    return scratch.subarray(this.#partialBytes, Math.min(scratch.length, rest));
  }

  onBytes(count: number): void {
    const recvOp = this.#recvOps[this.#recvIndex];
    if (recvOp === undefined || this.#isStopped) return;
    this.bytesReceived += count;
    this.#recvBytes += recvOp.sum ? this.#accumulate(recvOp, this.#partialBytes + count) : count;
    if (this.#recvBytes === recvOp.bytes.length) {
      this.#recvIndex++;
      this.#recvBytes = 0;
      this.#skipEmptyRecvOps();
    }
    this.#send();
  }

  /** Adds the whole values among the bytes in the scratch memory and returns how many bytes they were. */
  #accumulate(recvOp: RecvOp, scratchBytes: number): number {
    const count = Math.floor(scratchBytes / 4);
    if (count > 0) {
      const { buffer, byteOffset } = recvOp.bytes;
      this.#accumulator.addTo(new Float32Array(buffer, byteOffset + this.#recvBytes, count), count);
    }
    this.#partialBytes = scratchBytes - count * 4;
    if (this.#partialBytes > 0) this.#accumulator.scratch.copyWithin(0, count * 4, scratchBytes);
    return count * 4;
  }

  #skipEmptyRecvOps(): void {
    while (this.#recvOps[this.#recvIndex]?.bytes.length === 0) this.#recvIndex++;
  }

  #send(): void {
    if (this.#isWriting || this.#isStopped) return;
    for (; this.#sendIndex < this.#sendOps.length; this.#sendIndex++, this.#sentBytes = 0) {
      const sendOp = this.#sendOps[this.#sendIndex]!;
      const ready = this.#readyBytes(sendOp);
      if (ready > this.#sentBytes) {
        this.#write(sendOp.bytes.subarray(this.#sentBytes, ready));
        return;
      }
      if (this.#sentBytes < sendOp.bytes.length) return;
    }
    if (this.receivedAll) this.#finish();
  }

  #write(bytes: Uint8Array): void {
    this.#isWriting = true;
    this.#sentBytes += bytes.length;
    this.bytesSent += bytes.length;
    this.#sender.write(bytes, () => {
      this.#isWriting = false;
      this.#send();
    });
  }

  /** How many bytes of a SendOp are in place and may leave. */
  #readyBytes({ bytes, dependsOn = -1 }: SendOp): number {
    if (dependsOn < this.#recvIndex) return bytes.length;
    return dependsOn === this.#recvIndex ? this.#recvBytes : 0;
  }
}
