import { refuse, WeftError } from '@weft/common';
import { asBytes, type ByteSink } from '../transport/duplex.js';
import { decodeFault, decodeMessageHeader, MESSAGE_HEADER_BYTES, type MessageHeader, widenBf16 } from './codec.js';
import { type ExpertShard, listCount, packedRows, zeroUnused } from './expert-shard.js';

const MAX_TEXT_BYTES = 16_384;
/** Receives bytes that are not needed any more: a connection that is not read does not notice its end. */
const DRAIN = new Uint8Array(65_536);

/** Handles the messages of one reader. Errors that its methods throw reach `onFailure`. */
export interface MessageHandler {
  /** The block that receives the rows of this message; called once the header was found to fit the shard. */
  blockFor(header: MessageHeader): Float32Array;
  /** All rows of a message are in place, with zeros in the rest of the block. */
  onRows(header: MessageHeader, block_ECD: Float32Array, tokensPerExpert_EG: Int32Array): void;
  /** Rows that go from device to device, of which there are so many. */
  onDeviceRows(header: MessageHeader, tokensPerExpert_EG: Int32Array): void;
  /** What the peer has, or decides, as JSON. */
  onDevices(header: MessageHeader, text: string): void;
  /** @param value `undefined` in a request */
  onSquaredNorm(header: MessageHeader, value: number | undefined): void;
  /** The peer gave up, or sent an invalid message. Nothing more is read. */
  onFailure(error: WeftError): void;
  /** Whether another message may begin; when this becomes true, call `receive` of the connection again. */
  readonly isReady: boolean;
}

/** What the messages of one connection must be. */
export interface ExpectedMessages {
  readonly generation: number;
  /** Answers at a rank, requests at an expert worker. */
  readonly isAnswer: boolean;
  readonly shard: ExpertShard;
  readonly precision: MessageHeader['precision'];
}

type ReaderState =
  | { readonly name: 'header' | 'fault' | 'devices' | 'norm' | 'counts'; readonly bytes: Buffer }
  | { readonly name: 'rows'; readonly targets: readonly Uint8Array[]; readonly finish: () => void };

/** Reads the messages of one connection. Every size is checked before memory is allocated or written. */
export class MessageReader implements ByteSink {
  bytesReceived = 0;
  readonly #expected: ExpectedMessages;
  readonly #handler: MessageHandler;
  #state: ReaderState = awaitHeader();
  /** Of the current message; set in all states but `header`. */
  #header: MessageHeader | undefined;
  /** In the state `rows`, the current target. */
  #targetIndex = 0;
  /** Bytes of the current target that have arrived. */
  #filled = 0;
  #isStopped = false;

  constructor(expected: ExpectedMessages, handler: MessageHandler) {
    this.#expected = expected;
    this.#handler = handler;
  }

  target(): Uint8Array | undefined {
    if (this.#isStopped) return DRAIN;
    const isBetweenMessages = this.#state.name === 'header' && this.#filled === 0;
    if (isBetweenMessages && !this.#handler.isReady) return undefined;
    return this.#current().subarray(this.#filled);
  }

  onBytes(count: number): void {
    if (this.#isStopped) return;
    this.bytesReceived += count;
    this.#filled += count;
    try {
      while (!this.#isStopped && this.#filled === this.#current().length) this.#next();
    } catch (thrown) {
      this.stop();
      this.#handler.onFailure(WeftError.from(thrown));
    }
  }

  /** From now on no memory of the handler is touched. */
  stop(): void {
    this.#isStopped = true;
  }

  #current(): Uint8Array {
    return this.#state.name === 'rows' ? this.#state.targets[this.#targetIndex]! : this.#state.bytes;
  }

  /** The current target is full. */
  #next(): void {
    const state = this.#state;
    this.#filled = 0;
    if (state.name === 'header') this.#begin(decodeMessageHeader(state.bytes));
    if (state.name === 'counts') this.#beginRows(this.#header!, state.bytes);
    if (state.name === 'rows' && ++this.#targetIndex === state.targets.length) state.finish();
    if (state.name === 'norm') this.#finishNorm(this.#header!, state.bytes);
    if (state.name === 'devices') this.#finishDevices(this.#header!, state.bytes);
    if (state.name === 'fault') throw decodeFault(state.bytes);
  }

  #begin(header: MessageHeader): void {
    this.#header = header;
    const { content, payloadBytes } = header;
    const isText = content === 'fault' || content === 'devices';
    if (isText && payloadBytes > MAX_TEXT_BYTES)
      corrupt(`a ${content === 'fault' ? 'fault' : 'message about devices'} of ${payloadBytes} bytes`);
    if (content === 'fault') {
      this.#state = { name: 'fault', bytes: Buffer.alloc(payloadBytes) };
      return;
    }
    this.#check(header);
    if (content === 'devices') this.#state = { name: 'devices', bytes: Buffer.alloc(payloadBytes) };
    else if (content === 'squaredNorm') this.#state = { name: 'norm', bytes: Buffer.alloc(payloadBytes) };
    else this.#state = { name: 'counts', bytes: Buffer.alloc(listCount(this.#expected.shard) * 4) };
  }

  #check(header: MessageHeader): void {
    const { generation, isAnswer, precision, shard } = this.#expected;
    if (header.generation !== generation)
      corrupt(`a message of generation ${header.generation} in generation ${generation}`);
    if (header.isAnswer !== isAnswer) corrupt(isAnswer ? 'a request to a rank' : 'an answer to an expert worker');
    if (header.content === 'devices') return;
    if (header.content === 'squaredNorm') {
      if (header.payloadBytes !== (isAnswer ? 8 : 0)) corrupt(`a norm of ${header.payloadBytes} bytes`);
      return;
    }
    const { firstExpert, experts, groups, width } = shard;
    const isSame = header.firstExpert === firstExpert && header.experts === experts;
    if (!isSame || header.groups !== groups || header.width !== width)
      refuse(
        'invalid_argument',
        `rows of ${describeShard(header)}, where ${describeShard(shard)} are expected`,
        'report this: rank and expert worker hold different placements',
      );
    if (header.precision !== precision) corrupt(`rows in ${header.precision} instead of ${precision}`);
  }

  #finishNorm(header: MessageHeader, bytes: Buffer): void {
    this.#awaitHeader();
    this.#handler.onSquaredNorm(header, bytes.length === 0 ? undefined : bytes.readDoubleLE(0));
  }

  #finishDevices(header: MessageHeader, bytes: Buffer): void {
    this.#awaitHeader();
    this.#handler.onDevices(header, bytes.toString('utf8'));
  }

  #beginRows(header: MessageHeader, bytes: Buffer): void {
    const { shard, precision } = this.#expected;
    const tokensPerExpert_EG = Int32Array.from({ length: listCount(shard) }, (_, list) => bytes.readInt32LE(list * 4));
    const wrong = tokensPerExpert_EG.find((rows) => rows < 0 || rows > shard.capacity);
    if (wrong !== undefined) corrupt(`${wrong} rows for an expert with capacity ${shard.capacity}`);
    if (header.content === 'deviceRows') {
      if (header.payloadBytes !== bytes.length) corrupt(`${header.payloadBytes} bytes of ${bytes.length / 4} counts`);
      this.#awaitHeader();
      this.#handler.onDeviceRows(header, tokensPerExpert_EG);
      return;
    }
    const values = tokensPerExpert_EG.reduce((sum, rows) => sum + rows, 0) * shard.width;
    const valueBytes = values * (precision === 'fp32' ? 4 : 2);
    if (header.payloadBytes !== bytes.length + valueBytes)
      corrupt(`rows of ${header.payloadBytes - bytes.length} bytes where their counts say ${valueBytes}`);
    const block = this.#handler.blockFor(header);
    zeroUnused(block, tokensPerExpert_EG, shard);
    const parts = packedRows(block, tokensPerExpert_EG, shard);
    const rounded = precision === 'fp32' ? undefined : parts.map((part) => new Uint16Array(part.length));
    const finish = () => {
      if (rounded !== undefined) for (const [index, part] of parts.entries()) widenBf16(rounded[index]!, part);
      this.#awaitHeader();
      this.#handler.onRows(header, block, tokensPerExpert_EG);
    };
    this.#targetIndex = 0;
    if (parts.length > 0) this.#state = { name: 'rows', targets: (rounded ?? parts).map(asBytes), finish };
    else finish();
  }

  #awaitHeader(): void {
    this.#state = awaitHeader();
    this.#filled = 0;
  }
}

function awaitHeader(): ReaderState {
  return { name: 'header', bytes: Buffer.alloc(MESSAGE_HEADER_BYTES) };
}

function describeShard({ firstExpert, experts, groups, width }: Omit<ExpertShard, 'capacity'>): string {
  return `experts ${firstExpert} to ${firstExpert + experts - 1} in ${groups} groups, ${width} wide`;
}

function corrupt(what: string): never {
  return refuse('corrupt_data', `invalid message: ${what}`);
}
