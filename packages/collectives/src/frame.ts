import { WeftError } from '@weft/common';
import type { Inlet, Sink } from './link.js';

/** Raised when the bytes between two data planes change their meaning. */
export const DATA_PLANE_PROTOCOL = 2;

/** The largest body of a frame; a peer that announces more is refused before memory is taken. */
export const MAX_FRAME_BYTES = 4096;

const MAGIC = 0x54464557; // "WEFT"
const HEADER_BYTES = 12; // magic, protocol, body length

export type FrameBody = Readonly<Record<string, unknown>>;

/** A small JSON message with magic, protocol version and length before it: handshakes and notices. */
export function encodeFrame(body: FrameBody): Uint8Array {
  const json = Buffer.from(JSON.stringify(body));
  if (json.length > MAX_FRAME_BYTES)
    throw new WeftError('internal', `a frame of ${json.length} bytes is over the limit of ${MAX_FRAME_BYTES}`);
  const frame = Buffer.alloc(HEADER_BYTES + json.length);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(DATA_PLANE_PROTOCOL, 4);
  frame.writeUInt32LE(json.length, 8);
  json.copy(frame, HEADER_BYTES);
  return frame;
}

/**
 * Reads one frame and not a byte more, so that raw data may follow it.
 *
 * @throws `unavailable` when the connection closes first, `version_mismatch` for another protocol version,
 *   `corrupt_data` for anything that is no frame.
 */
export function readFrame(inlet: Inlet): Promise<FrameBody> {
  return new Promise((resolve, reject) => {
    const reader = new FrameReader(resolve, reject);
    void inlet.closed.then((cause) => {
      const why = cause === undefined ? '' : `: ${cause.message}`;
      reject(new WeftError('unavailable', `the connection closed before a message was complete${why}`, { cause }));
    });
    inlet.pull(reader);
  });
}

class FrameReader implements Sink {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  readonly #resolve: (body: FrameBody) => void;
  readonly #reject: (error: WeftError) => void;
  #body: Buffer | undefined;
  #filled = 0;
  #done = false;

  constructor(resolve: (body: FrameBody) => void, reject: (error: WeftError) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  target(): Uint8Array | undefined {
    return this.#done ? undefined : (this.#body ?? this.#header).subarray(this.#filled);
  }

  landed(bytes: number): void {
    this.#filled += bytes;
    try {
      if (this.#body === undefined && this.#filled === HEADER_BYTES) {
        this.#body = Buffer.alloc(bodyLength(this.#header));
        this.#filled = 0;
      }
      if (this.#body !== undefined && this.#filled === this.#body.length) {
        this.#done = true;
        this.#resolve(parseBody(this.#body));
      }
    } catch (thrown) {
      this.#done = true;
      this.#reject(WeftError.from(thrown));
    }
  }
}

function bodyLength(header: Buffer): number {
  if (header.readUInt32LE(0) !== MAGIC)
    throw new WeftError('corrupt_data', 'the peer does not speak the data plane protocol of Weft', {
      cure: 'check that the address is the data plane of a Weft worker',
    });
  const protocol = header.readUInt32LE(4);
  if (protocol !== DATA_PLANE_PROTOCOL)
    throw new WeftError(
      'version_mismatch',
      `the peer speaks version ${protocol} of the data plane protocol, this process version ${DATA_PLANE_PROTOCOL}`,
      { cure: 'run the same version of Weft on every host' },
    );
  const length = header.readUInt32LE(8);
  if (length < 2 || length > MAX_FRAME_BYTES)
    throw new WeftError('corrupt_data', `a message of ${length} bytes is over the limit of ${MAX_FRAME_BYTES}`);
  return length;
}

function parseBody(bytes: Buffer): FrameBody {
  try {
    const body: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return { ...body };
  } catch {
    // Said below.
  }
  throw new WeftError('corrupt_data', 'a message of the data plane is not a JSON object');
}
