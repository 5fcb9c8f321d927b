import { assertNever, deferred, type ErrorCode, refuse, settlesWithin, WeftError } from '@weft/common';
import { ringNeighbours } from '@weft/topology';
import { type RankId, rankGone } from '../connect/rank-id.js';
import type { ByteSink, Duplex, Receiver, Sender } from '../transport/duplex.js';
import { encodeFrame, type FrameBody, readFrame } from '../transport/frame.js';
import { SimdAccumulator } from '../transport/simd-accumulator.js';
import { RingOperation, type RingSchedule } from './all-reduce.js';

const SCRATCH_BYTES = 262_144;
/** After a connection broke, how long to wait for a neighbour's fault that names the rank that is gone. */
const FAULT_GRACE_MS = 2_000;
const CLOSE_GRACE_MS = 1_000;

/**
 * The connections of one rank. Tensors flow from `previous` to `next` only. Faults travel both ways on the control
 * connections, so they reach every rank even when no data flows.
 */
export interface RingLinks {
  readonly data: { readonly previous: Receiver; readonly next: Sender };
  readonly control: { readonly previous: Duplex; readonly next: Duplex };
}

/** Runs operations over the connections of one rank, one at a time, and finds the cause when they fail. */
export class RingRunner implements ByteSink {
  bytesReceived = 0;
  #bytesSent = 0;
  readonly #rankId: RankId;
  readonly #links: RingLinks;
  readonly #faultChannels: { readonly previous: FaultChannel; readonly next: FaultChannel };
  readonly #onFault: (error: WeftError) => void;
  readonly #accumulator = new SimdAccumulator(SCRATCH_BYTES);
  /** The previous rank's header of the current or next operation, as far as it has arrived. */
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerBytes = 0;
  /** Operations started so far, which is also the sequence number of the current one. */
  #operations = 0;
  #current: CurrentOperation | undefined;
  #fault: Fault | undefined;

  /** @param onFault told of the fault that breaks the ring, also while no operation runs */
  constructor(rankId: RankId, links: RingLinks, onFault: (error: WeftError) => void = () => {}) {
    this.#rankId = rankId;
    this.#links = links;
    this.#onFault = onFault;
    const fail = (fault: Fault) => this.#fail(fault);
    this.#faultChannels = {
      previous: new FaultChannel(links.control.previous, fail),
      next: new FaultChannel(links.control.next, fail),
    };
    this.#watchConnections();
    links.data.previous.receive(this);
  }

  /** In all operations, with the part of the current one that is under way. */
  get bytesSent(): number {
    return this.#bytesSent + (this.#current?.operation.bytesSent ?? 0);
  }

  /** How many operations were begun. */
  get operations(): number {
    return this.#operations;
  }

  /**
   * Runs one operation. Call again only after it settled.
   *
   * @throws WeftError as the methods of `ProcessGroup`.
   */
  async run(request: Omit<OperationHeader, 'sequence'>, schedule: RingSchedule): Promise<void> {
    const header: OperationHeader = { ...request, sequence: ++this.#operations };
    if (this.#fault !== undefined && this.#fault.fromOperation <= header.sequence) throw this.#fault.error;
    const operation = new RingOperation(encodeHeader(header), schedule, this.#links.data.next, this.#accumulator);
    const agreement = deferred();
    const outcome = deferred<unknown>();
    this.#current = { header, operation, agreed: agreement.resolve, reject: outcome.reject };
    Promise.all([agreement.promise, operation.done]).then(outcome.resolve, outcome.reject);
    try {
      operation.start();
      this.#checkHeader();
      this.#links.data.previous.receive(this);
      await outcome.promise;
    } finally {
      this.#current = undefined;
      this.#bytesSent += operation.bytesSent;
      this.bytesReceived += operation.bytesReceived + HEADER_BYTES;
    }
    this.#headerBytes = 0;
    if (this.#fault === undefined) this.#links.data.previous.receive(this);
    else this.#destroyData();
  }

  target(): Uint8Array | undefined {
    if (this.#headerBytes < HEADER_BYTES) return this.#header.subarray(this.#headerBytes);
    return this.#current?.operation.target();
  }

  onBytes(count: number): void {
    if (this.#headerBytes === HEADER_BYTES) this.#current?.operation.onBytes(count);
    else {
      this.#headerBytes += count;
      this.#checkHeader();
    }
  }

  /** This rank fails with `error`; the others learn that it is gone, and `how`. */
  leave(error: WeftError, how: string): void {
    const fromOperation = this.#current?.header.sequence ?? this.#operations + 1;
    this.#fail({ fromOperation, error }, rankGone(this.#rankId, this.#rankId.rank, how));
  }

  /** Closes all connections after the last faults have left. Call `leave` before. */
  async close(): Promise<void> {
    const channels = [this.#faultChannels.previous, this.#faultChannels.next];
    for (const channel of channels) channel.end();
    await settlesWithin(Promise.all(channels.map((channel) => channel.closed)), CLOSE_GRACE_MS);
    for (const channel of channels) channel.destroy();
    this.#destroyData();
  }

  /** Once this rank's operation and the previous rank's header are both there, compares them. */
  #checkHeader(): void {
    if (this.#current === undefined || this.#headerBytes < HEADER_BYTES) return;
    const { previous } = ringNeighbours(this.#rankId.rank, this.#rankId.worldSize);
    try {
      checkAgreement(decodeHeader(this.#header), previous, this.#current.header, this.#rankId.rank);
      this.#current.agreed();
    } catch (thrown) {
      this.#fail({ fromOperation: this.#current.header.sequence, error: WeftError.from(thrown) });
    }
  }

  /** A data connection that closes breaks the current operation only if the operation still needs it. */
  #watchConnections(): void {
    const { previous, next } = ringNeighbours(this.#rankId.rank, this.#rankId.worldSize);
    void this.#links.data.previous.closed.then((cause) => {
      const isNeeded = this.#headerBytes < HEADER_BYTES || this.#current?.operation.receivedAll === false;
      return this.#connectionLost(previous, isNeeded, this.#faultChannels.previous, cause);
    });
    void this.#links.data.next.closed.then((cause) => {
      const isNeeded = this.#current?.operation.sentAll === false;
      return this.#connectionLost(next, isNeeded, this.#faultChannels.next, cause);
    });
  }

  /**
   * A neighbour's data connection closed. The neighbour may have given up because of another rank; it then sends a fault
   * on its control connection first. Blames the neighbour once that connection has closed too, or after a while.
   */
  async #connectionLost(rank: number, isNeeded: boolean, channel: FaultChannel, cause?: Error): Promise<void> {
    const current = this.#current;
    const fromOperation = current !== undefined && isNeeded ? current.header.sequence : this.#operations + 1;
    if (this.#fault !== undefined && this.#fault.fromOperation <= fromOperation) return;
    const during = current === undefined ? '' : ` during ${current.header.collective}`;
    const why = cause === undefined ? '' : ` (${cause.message})`;
    const how = `its connection to rank ${this.#rankId.rank} closed${during}${why}`;
    await settlesWithin(channel.closed, FAULT_GRACE_MS);
    this.#fail({ fromOperation, error: rankGone(this.#rankId, rank, how) });
  }

  /**
   * The first fault counts, unless a later one breaks an earlier operation.
   *
   * @param sent the error that the neighbours receive
   */
  #fail(fault: Fault, sent: WeftError = fault.error): void {
    if (this.#fault !== undefined && this.#fault.fromOperation <= fault.fromOperation) return;
    this.#fault = fault;
    this.#onFault(fault.error);
    this.#faultChannels.previous.send({ fromOperation: fault.fromOperation, error: sent });
    this.#faultChannels.next.send({ fromOperation: fault.fromOperation, error: sent });
    if (this.#current !== undefined && this.#current.header.sequence < fault.fromOperation) return;
    this.#destroyData();
    this.#current?.operation.stop();
    this.#current?.reject(fault.error);
  }

  #destroyData(): void {
    this.#links.data.previous.destroy();
    this.#links.data.next.destroy();
  }
}

interface CurrentOperation {
  readonly header: OperationHeader;
  readonly operation: RingOperation;
  /** The previous rank runs the same operation. */
  readonly agreed: () => void;
  readonly reject: (error: WeftError) => void;
}

/**
 * Why a ring is broken, and from which operation on, by sequence number. Earlier operations may still succeed: what they
 * need was sent before the failure.
 */
interface Fault {
  readonly fromOperation: number;
  readonly error: WeftError;
}

/** Codes that a fault may carry; any other one counts as `unavailable`. */
const FAULT_CODES: readonly ErrorCode[] = ['unavailable', 'invalid_argument', 'corrupt_data', 'internal'];
const MAX_MESSAGE_LENGTH = 1000;

/** Sends faults to one neighbour and receives its faults, over the control connection. */
class FaultChannel {
  readonly closed: Promise<Error | undefined>;
  readonly #duplex: Duplex;

  constructor(duplex: Duplex, onFault: (fault: Fault) => void) {
    this.#duplex = duplex;
    this.closed = duplex.closed;
    void this.#listen(onFault);
  }

  send({ fromOperation, error: { code, message, hint } }: Fault): void {
    const frame = encodeFrame({
      // The name in version 2 of the protocol.
      fromPass: fromOperation,
      code,
      message: message.slice(0, MAX_MESSAGE_LENGTH),
      ...(hint === undefined ? {} : { hint: hint.slice(0, MAX_MESSAGE_LENGTH) }),
    });
    this.#duplex.write(frame, () => {});
  }

  end(): void {
    this.#duplex.end();
  }

  destroy(): void {
    this.#duplex.destroy();
  }

  async #listen(onFault: (fault: Fault) => void): Promise<void> {
    try {
      for (;;) onFault(faultFrom(await readFrame(this.#duplex)));
    } catch {
      // Closed, or not a fault: in either case nothing more is expected from this neighbour.
      this.#duplex.end();
    }
  }
}

function faultFrom({ fromPass, code, message, hint }: FrameBody): Fault {
  if (typeof fromPass !== 'number' || !Number.isSafeInteger(fromPass) || typeof message !== 'string')
    return refuse('corrupt_data', 'a fault of the ring lacks its operation or message');
  const known = FAULT_CODES.find((candidate) => candidate === code) ?? 'unavailable';
  return { fromOperation: fromPass, error: new WeftError(known, message, typeof hint === 'string' ? { hint } : {}) };
}

/** Sent before the bytes of every operation: ranks that disagree fail instead of mixing their data. */
interface OperationHeader {
  readonly collective: Collective;
  /** 1 for the first operation of the group. */
  readonly sequence: number;
  /** Values of an all-reduce or reduce-scatter, bytes of a broadcast, 0 where lengths may differ. */
  readonly length: number;
  /** Of a broadcast; 0 elsewhere. */
  readonly root: number;
}

const COLLECTIVES = ['all-reduce', 'reduce-scatter', 'all-gather', 'broadcast', 'barrier'] as const;
/** The name of a collective operation. */
export type Collective = (typeof COLLECTIVES)[number];

/** Little-endian: uint32 magic, uint32 index of the collective, float64 sequence, length and root. */
const HEADER_BYTES = 32;
const MAGIC = 0x53534150; // "PASS"

function encodeHeader({ collective, sequence, length, root }: OperationHeader): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(COLLECTIVES.indexOf(collective), 4);
  bytes.writeDoubleLE(sequence, 8);
  bytes.writeDoubleLE(length, 16);
  bytes.writeDoubleLE(root, 24);
  return bytes;
}

function decodeHeader(bytes: Uint8Array): OperationHeader {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const collective = COLLECTIVES[header.readUInt32LE(4)];
  if (header.readUInt32LE(0) !== MAGIC || collective === undefined)
    return refuse('corrupt_data', 'the previous rank of the ring sent bytes that start no operation');
  return {
    collective,
    sequence: header.readDoubleLE(8),
    length: header.readDoubleLE(16),
    root: header.readDoubleLE(24),
  };
}

/**
 * Checks that the previous rank runs the same operation as this one.
 *
 * @throws WeftError `invalid_argument` naming both ranks and both values.
 */
function checkAgreement(theirs: OperationHeader, theirRank: number, ours: OperationHeader, ourRank: number): void {
  const call = ({ collective, sequence }: OperationHeader) => `${collective} (operation ${sequence})`;
  if (theirs.collective !== ours.collective || theirs.sequence !== ours.sequence)
    refuse(
      'invalid_argument',
      `rank ${theirRank} calls ${call(theirs)} where rank ${ourRank} calls ${call(ours)}`,
      'call the same collectives in the same order on every rank',
    );
  if (theirs.length !== ours.length)
    refuse(
      'invalid_argument',
      `rank ${theirRank} calls ${ours.collective} with ${amount(theirs)}, but rank ${ourRank} with ${amount(ours)}`,
      `give ${ours.collective} the same length on every rank`,
    );
  if (theirs.root !== ours.root)
    refuse(
      'invalid_argument',
      `rank ${theirRank} broadcasts from root ${theirs.root}, but rank ${ourRank} from root ${ours.root}`,
      'name the same root on every rank',
    );
}

function amount({ collective, length }: OperationHeader): string {
  switch (collective) {
    case 'all-reduce':
    case 'reduce-scatter':
      return `${length} values`;
    case 'broadcast':
    case 'all-gather':
    case 'barrier':
      return `${length} bytes`;
    default:
      return assertNever(collective);
  }
}
