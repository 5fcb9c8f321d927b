import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import xxhash from 'xxhash-wasm';
import { unpackZstd } from './zstd.js';

/** Of the program zstd at level 19: 3000 times "weft loom ". */
const PACKED = 'KLUv/QRolQAAUHdlZnQgbG9vbSABACN194IEQorNFw==';

async function unpack(bytes: Uint8Array, chunk = bytes.length): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of unpackZstd(chunksOf(bytes, Math.max(1, chunk)), 'a.zst')) parts.push(part);
  return Buffer.concat(parts).toString();
}

async function* chunksOf(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size));
}

const { h64Raw } = await xxhash();

function checksumOf(content: Buffer): Buffer {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(Number(BigInt.asUintN(32, h64Raw(content))));
  return checksum;
}

/** A frame of plain blocks, as RFC 8878 lays it out: of a single segment, or with a window of 2^log bytes. */
function frame(contents: readonly string[], options: { windowLog?: number; checksum?: boolean } = {}): Buffer {
  const all = Buffer.from(contents.join(''));
  const { windowLog, checksum = false } = options;
  const descriptor = (windowLog === undefined ? 0xa0 : 0) | (checksum ? 4 : 0);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(all.length);
  const blocks = contents.map((content, i) => {
    const header = Buffer.alloc(3);
    header.writeUIntLE((Buffer.byteLength(content) << 3) | (i === contents.length - 1 ? 1 : 0), 0, 3);
    return Buffer.concat([header, Buffer.from(content)]);
  });
  return Buffer.concat([
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, descriptor]),
    windowLog === undefined ? size : Buffer.from([(windowLog - 10) << 3]),
    ...blocks,
    checksum ? checksumOf(all) : Buffer.alloc(0),
  ]);
}

/** Bytes of which one is another. */
function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
}

/** A frame that decoders pass over. */
const skippable = Buffer.concat([Buffer.from([0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0]), Buffer.from('aside')]);

describe('Zstandard', () => {
  it.each([1, 3, 7, 1 << 20])('is unpacked from chunks of %d bytes', async (chunk) => {
    expect(await unpack(Buffer.from(PACKED, 'base64'), chunk)).toBe('weft loom '.repeat(3000));
  });

  it.each<[string, Buffer, string]>([
    ['no frame', Buffer.alloc(0), ''],
    ['one frame of several blocks', frame(['ab', 'cd', '']), 'abcd'],
    ['several frames', Buffer.concat([frame(['ab']), frame(['cd'])]), 'abcd'],
    ['a thousand frames', Buffer.concat(Array.from({ length: 1000 }, () => frame(['x']))), 'x'.repeat(1000)],
    ['frames with a checksum', Buffer.concat([frame(['ab'], { checksum: true }), frame(['c'])]), 'abc'],
    ['a frame with a window', frame(['ab'], { windowLog: 20 }), 'ab'],
    ['something to pass over', Buffer.concat([skippable, frame(['ab']), skippable]), 'ab'],
  ])('holds %s', async (_, bytes, text) => {
    expect(await unpack(bytes)).toBe(text);
    expect(await unpack(bytes, 2)).toBe(text);
  });

  it.each<[string, Buffer, RegExp]>([
    ['something else', Buffer.from('hello'), /a\.zst cannot be unpacked with zstd: it is not Zstandard/],
    [
      'something else behind a frame',
      Buffer.concat([frame(['ab']), Buffer.from('hello')]),
      /something else behind its last frame/,
    ],
    ['half a frame', frame(['abcdefgh']).subarray(0, 14), /unexpected end/],
    ['a changed byte', changed(frame(['abcdefgh', 'ij'], { checksum: true }), 14), /its checksum is wrong/],
    ['a changed byte of what zstd packed', changed(Buffer.from(PACKED, 'base64'), 12), /its checksum is wrong/],
    ['half a number', Buffer.from([0x28, 0xb5]), /unexpected end/],
    ['half a header', frame(['a']).subarray(0, 7), /unexpected end/],
    ['a window larger than memory', frame(['ab'], { windowLog: 31 }), /needs a window of 2147483648 bytes/],
    [
      'a size larger than memory',
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0]),
      /needs a window of 4294967295 bytes/,
    ],
  ])('is refused in a sentence: %s', async (_, bytes, message) => {
    await expect(unpack(bytes)).rejects.toThrow(message);
    await expect(unpack(bytes, 1)).rejects.toMatchObject({ code: 'corrupt_data', hint: expect.any(String) });
  });

  it('holds what cannot be packed', async () => {
    const text = randomBytes(100_000).toString('base64');
    expect(await unpack(frame([text.slice(0, 60_000), text.slice(60_000)]), 4096)).toBe(text);
  });
});
