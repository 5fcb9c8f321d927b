import { deferred, isJsonObject, refuse, WeftError } from '@weft/common';
import type { ByteSink, Receiver } from './duplex.js';

/** Raised when the bytes between two data planes change their meaning. */
const DATA_PLANE_PROTOCOL = 2;
/** The largest body of a frame; a peer that announces more is refused before memory is allocated. */
const MAX_FRAME_BYTES = 4096;

const MAGIC = 0x54464557; // "WEFT"
/** uint32 little-endian: magic, protocol version, length of the body. */
const HEADER_BYTES = 12;

/** The JSON object of a frame; not validated. */
export type FrameBody = Readonly<Record<string, unknown>>;

/**
 * A small JSON message behind a header of 12 bytes, for handshakes and faults.
 *
 * @throws WeftError `internal` when the body is over 4 KiB.
 */
export function encodeFrame(body: FrameBody): Uint8Array {
  const json = Buffer.from(JSON.stringify(body));
  if (json.length > MAX_FRAME_BYTES)
    refuse('internal', `a frame of ${json.length} bytes is over the limit of ${MAX_FRAME_BYTES}`);
  const frame = Buffer.alloc(HEADER_BYTES + json.length);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(DATA_PLANE_PROTOCOL, 4);
  frame.writeUInt32LE(json.length, 8);
  json.copy(frame, HEADER_BYTES);
  return frame;
}

/**
 * Reads one frame and not a byte more, because raw data may follow it.
 *
 * @throws WeftError `unavailable` when the connection closes first, `version_mismatch` for another protocol version,
 *   `corrupt_data` for bytes that are no frame.
 */
export function readFrame(receiver: Receiver): Promise<FrameBody> {
  const { promise, resolve, reject } = deferred<FrameBody>();
  void receiver.closed.then((cause) => {
    const why = cause === undefined ? '' : `: ${cause.message}`;
    reject(new WeftError('unavailable', `the connection closed before a message was complete${why}`, { cause }));
  });
  receiver.receive(new FrameReader(resolve, reject));
  return promise;
}

class FrameReader implements ByteSink {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  readonly #resolve: (body: FrameBody) => void;
  readonly #reject: (error: WeftError) => void;
  #body: Buffer | undefined;
  /** Bytes of the header, or of the body once it is allocated, that have arrived. */
  #filled = 0;
  #isDone = false;

  constructor(resolve: (body: FrameBody) => void, reject: (error: WeftError) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  target(): Uint8Array | undefined {
    return this.#isDone ? undefined : (this.#body ?? this.#header).subarray(this.#filled);
  }

  onBytes(count: number): void {
    this.#filled += count;
    try {
      if (this.#body === undefined && this.#filled === HEADER_BYTES) {
        this.#body = Buffer.alloc(bodyLength(this.#header));
        this.#filled = 0;
      }
      if (this.#body !== undefined && this.#filled === this.#body.length) {
        this.#isDone = true;
        this.#resolve(parseBody(this.#body));
      }
    } catch (thrown) {
      this.#isDone = true;
      this.#reject(WeftError.from(thrown));
    }
  }
}

function bodyLength(header: Buffer): number {
  if (header.readUInt32LE(0) !== MAGIC)
    refuse(
      'corrupt_data',
      'the peer does not speak the data plane protocol of Weft',
      'check that the address is the data plane of a Weft worker',
    );
  const protocol = header.readUInt32LE(4);
  if (protocol !== DATA_PLANE_PROTOCOL)
    refuse(
      'version_mismatch',
      `the peer speaks version ${protocol} of the data plane protocol, this process version ${DATA_PLANE_PROTOCOL}`,
      'run the same version of Weft on every host',
    );
  const length = header.readUInt32LE(8);
  if (length < 2 || length > MAX_FRAME_BYTES)
    refuse('corrupt_data', `a message of ${length} bytes is over the limit of ${MAX_FRAME_BYTES}`);
  return length;
}

function parseBody(bytes: Buffer): FrameBody {
  const body = parseJson(bytes.toString('utf8'));
  if (isJsonObject(body)) return { ...body };
  return refuse('corrupt_data', 'a message of the data plane is not a JSON object');
}

/** The value of a JSON text; `undefined` for anything else. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
