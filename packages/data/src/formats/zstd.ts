import { WeftError } from '@weft/common';
import { Decompress } from 'fzstd';
import xxhash from 'xxhash-wasm';

/** The window that a decoder must be able to hold, as of `zstd -d`; a frame that asks for more is refused before memory is taken. */
const LARGEST_WINDOW_BYTES = 128 * 1024 * 1024;
const MAGIC = 0xfd2fb528;
/** Frames with these bits carry no data. */
const SKIPPABLE = 0x184d2a50;
/** Magic number, descriptor, window, dictionary, content size. */
const LONGEST_HEADER_BYTES = 18;

/**
 * Unpacks Zstandard: one frame or several, as `zstd`, `pzstd` and Python write them. Frames and blocks are found by their
 * headers (RFC 8878), so that every frame gets a decoder of its own and its window is known before memory is taken.
 *
 * @param path names the file in messages
 * @throws WeftError `corrupt_data` for what is cut off, damaged or not Zstandard, also by its checksum where it has one, and for a window of more than 128 MiB
 */
export async function* unpackZstd(
  chunks: AsyncIterable<Buffer>,
  path: string,
): AsyncGenerator<Buffer, void, undefined> {
  const input = new Input(chunks);
  try {
    for (let frame = 0; await input.has(1); frame++) {
      if (!(await input.has(4))) throw new Error('unexpected end of the file');
      const magic = input.peek(4).readUInt32LE();
      if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) await skipFrame(input);
      else if (magic === MAGIC) yield* unpackFrame(input);
      else throw new Error(frame === 0 ? 'it is not Zstandard' : 'there is something else behind its last frame');
    }
  } catch (thrown) {
    if (WeftError.is(thrown)) throw thrown;
    const reason = WeftError.from(thrown).message;
    throw new WeftError('corrupt_data', `${path} cannot be unpacked with zstd: ${reason}`, {
      hint: 'replace the file with an intact copy, or remove it',
      cause: thrown,
    });
  }
}

let loaded: ReturnType<typeof xxhash> | undefined;

/** Compiled once, when a frame has a checksum. */
const loadHash = () => (loaded ??= xxhash());

async function skipFrame(input: Input): Promise<void> {
  await input.need(8);
  let left = input.take(8).readUInt32LE(4);
  while (left > 0) {
    await input.need(1);
    left -= input.take(Math.min(left, input.bytes)).length;
  }
}

async function* unpackFrame(input: Input): AsyncGenerator<Buffer, void, undefined> {
  await input.has(LONGEST_HEADER_BYTES);
  const { bytes, windowBytes, hasChecksum } = parseHeader(input.peek(Math.min(input.bytes, LONGEST_HEADER_BYTES)));
  if (windowBytes > LARGEST_WINDOW_BYTES)
    throw new Error(
      `it needs a window of ${windowBytes} bytes, more than ${LARGEST_WINDOW_BYTES}: pack it without --long`,
    );
  const hash = hasChecksum ? (await loadHash()).create64() : undefined;
  let unpacked: Buffer[] = [];
  const decoder = new Decompress((data) => unpacked.push(Buffer.from(data)));
  await input.need(bytes);
  decoder.push(input.take(bytes));
  for (let isLast = false; !isLast; ) {
    await input.need(3);
    const header = input.peek(3).readUIntLE(0, 3);
    isLast = (header & 1) === 1;
    // Of a block of one repeated byte only that byte is there.
    const content = (header & 6) === 2 ? 1 : header >> 3;
    const end = 3 + content + (isLast && hasChecksum ? 4 : 0);
    await input.need(end);
    const block = input.take(end);
    decoder.push(block, isLast);
    for (const part of unpacked) hash?.update(part);
    // The checksum is the lower half of the hash of all that was packed.
    if (isLast && hash !== undefined && BigInt.asUintN(32, hash.digest()) !== BigInt(block.readUInt32LE(end - 4)))
      throw new Error('its checksum is wrong');
    yield* unpacked;
    unpacked = [];
  }
}

/** The header of a frame: its length, and what its decoder must hold. */
function parseHeader(header: Buffer) {
  const descriptor = header[4] ?? 0;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const contentSizeAt = 5 + (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  const bytes = contentSizeAt + contentSizeBytes;
  if (header.length < bytes) throw new Error('unexpected end of the file');
  return {
    bytes,
    windowBytes: isSingleSegment ? contentSize(header, contentSizeAt, contentSizeBytes) : windowSize(header[5]!),
    hasChecksum: (descriptor & 4) !== 0,
  };
}

function contentSize(header: Buffer, at: number, bytes: number): number {
  if (bytes === 8) return Number(header.readBigUInt64LE(at));
  return header.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0);
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** Bytes that come in chunks, looked at and taken from the front. */
class Input {
  readonly #chunks: AsyncIterator<Buffer>;
  #waiting: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** How many are in memory. */
  get bytes(): number {
    return this.#waiting.length;
  }

  /** Reads until so many are in memory; false when the end comes before. */
  async has(bytes: number): Promise<boolean> {
    const parts = [this.#waiting];
    let length = this.#waiting.length;
    while (length < bytes) {
      const next = await this.#chunks.next();
      if (next.done === true) break;
      parts.push(next.value);
      length += next.value.length;
    }
    if (parts.length > 1) this.#waiting = Buffer.concat(parts);
    return length >= bytes;
  }

  async need(bytes: number): Promise<void> {
    if (!(await this.has(bytes))) throw new Error('unexpected end of the file');
  }

  peek(bytes: number): Buffer {
    return this.#waiting.subarray(0, bytes);
  }

  take(bytes: number): Buffer {
    const taken = this.peek(bytes);
    this.#waiting = this.#waiting.subarray(bytes);
    return taken;
  }
}
