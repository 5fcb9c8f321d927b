/**
 * The 512-byte header of a tar member, as POSIX.1-1988 (ustar) lays it out: name 0–99, mode 100, uid 108, gid 116,
 * size 124–135, mtime 136, checksum 148–155, type 156, link name 157, magic 257, prefix 345–499.
 */
export const TAR_BLOCK_BYTES = 512;

/** The fields of a header that a reader needs. */
export interface TarHeader {
  readonly name: string;
  readonly bytes: number;
  /** The type flag: `0` file, `5` folder, `x` and `L` extension record for the next member, … */
  readonly type: string;
}

/** A member, an empty block, or why the block is neither. */
export type ParsedHeader =
  | { readonly kind: 'member'; readonly header: TarHeader }
  | { readonly kind: 'empty' }
  | { readonly kind: 'damaged'; readonly reason: string };

/** Parses one block of TAR_BLOCK_BYTES bytes. */
export function parseTarHeader(block: Uint8Array): ParsedHeader {
  if (block.every((byte) => byte === 0)) return { kind: 'empty' };
  const checksum = octal(block, 148, 8);
  if (checksum === undefined || checksum !== sumOfHeader(block))
    return { kind: 'damaged', reason: 'the checksum of its header is wrong' };
  const bytes = size(block);
  if (bytes === undefined) return { kind: 'damaged', reason: 'its size is not a number' };
  const base = text(block, 0, 100);
  const isUstar = text(block, 257, 5) === 'ustar';
  const prefix = isUstar && text(block, 257, 8) !== 'ustar  ' ? text(block, 345, 155) : '';
  const name = prefix === '' ? base : `${prefix}/${base}`;
  const type = block[156] === 0 ? '0' : String.fromCharCode(block[156]!);
  return { kind: 'member', header: { name, bytes, type } };
}

/**
 * A header without owner and time, so that its bytes depend only on name and size.
 *
 * @throws RangeError for a name of more than 100 bytes
 */
export function buildTarHeader(name: string, bytes: number): Uint8Array {
  const encoded = Buffer.from(name);
  if (encoded.length > 100) throw new RangeError(`a member name may have 100 bytes: ${name}`);
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  encoded.copy(block, 0);
  const field = (value: number, offset: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  field(0o644, 100, 8);
  field(0, 108, 8);
  field(0, 116, 8);
  field(bytes, 124, 12);
  field(0, 136, 12);
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  field(sumOfHeader(block), 148, 7);
  block.write(' ', 155, 'latin1');
  return block;
}

/** The sum of all bytes, with the checksum field taken as spaces. */
function sumOfHeader(block: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < TAR_BLOCK_BYTES; i++) if (i < 148 || i >= 156) sum += block[i]!;
  return sum;
}

function text(block: Uint8Array, offset: number, length: number): string {
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return memberName(end === -1 ? field : field.subarray(0, end));
}

/** A name is UTF-8, else Latin-1, as older tools write it. */
export function memberName(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return Buffer.from(bytes).toString('latin1');
  }
}

function octal(block: Uint8Array, offset: number, length: number): number | undefined {
  const digits = text(block, offset, length).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

/** GNU tar writes sizes of 8 GiB and more as a big-endian number with the top bit set. */
function size(block: Uint8Array): number | undefined {
  if ((block[124]! & 0x80) === 0) return octal(block, 124, 12);
  let value = BigInt(block[124]! & 0x7f);
  for (let i = 125; i < 136; i++) value = (value << 8n) | BigInt(block[i]!);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}
