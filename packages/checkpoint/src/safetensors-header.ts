import { WeftError } from '@weft/common';

/**
 * The header of a safetensors file: an unsigned 64-bit little-endian length, that many bytes of JSON, then the data.
 * The JSON maps names to `{ dtype, shape, data_offsets: [begin, end] }`, offsets counted from the start of the data.
 * Together the tensors cover the data exactly once, without gap or overlap.
 */

/** Where a tensor lies in a file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes from the start of the data. */
  readonly begin: number;
  readonly end: number;
}

export const LENGTH_BYTES = 8;
/** The limit of the format's reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
const METADATA = '__metadata__';

/** Bytes of an element. */
const DTYPE_BYTES: ReadonlyMap<unknown, number> = new Map([
  ...['F64', 'I64', 'U64'].map((dtype) => [dtype, 8] as const),
  ...['F32', 'I32', 'U32'].map((dtype) => [dtype, 4] as const),
  ...['F16', 'BF16', 'I16', 'U16'].map((dtype) => [dtype, 2] as const),
  ...['F8_E4M3', 'F8_E5M2', 'I8', 'U8', 'BOOL'].map((dtype) => [dtype, 1] as const),
]);

/** The element types that Weft writes: its own checkpoints hold F32 only, exported weights may be BF16. */
export type WrittenDtype = 'F32' | 'BF16';

/** A tensor about to be written. */
export interface TensorHeader {
  readonly name: string;
  readonly shape: readonly number[];
  /** Default: F32. */
  readonly dtype?: WrittenDtype;
}

/**
 * Lays tensors out one after the other and returns the first bytes of the file. The header is padded with spaces so that
 * the data starts at a multiple of 8 bytes.
 *
 * @throws `invalid_argument` for two tensors of one name, a reserved name or an impossible shape.
 */
export function encodeHeader(tensors: readonly TensorHeader[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const names = new Set<string>();
  const members = [`${JSON.stringify(METADATA)}:${JSON.stringify(metadata)}`];
  let begin = 0;
  for (const { name, shape, dtype = 'F32' } of tensors) {
    if (names.has(name) || name === METADATA)
      throw new WeftError('invalid_argument', `two tensors of a checkpoint are called "${name}"`);
    names.add(name);
    const end = begin + elementCount(name, shape) * (dtype === 'F32' ? 4 : 2);
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const json = Buffer.from(`{${members.join(',')}}`);
  const header = Buffer.alloc(LENGTH_BYTES + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - LENGTH_BYTES));
  json.copy(header, LENGTH_BYTES);
  return header;
}

/**
 * Reads the length before the header.
 *
 * @param fileBytes the size of the file.
 * @param where names the file in errors.
 * @throws `corrupt_data` when it cannot be true.
 */
export function headerLength(prefix: Uint8Array, fileBytes: number, where: string): number {
  const length = Buffer.from(prefix.buffer, prefix.byteOffset, LENGTH_BYTES).readBigUInt64LE();
  if (length > BigInt(MAX_HEADER_BYTES))
    throw corrupt(where, `its header claims ${length} bytes, over the limit of ${MAX_HEADER_BYTES}`);
  if (length > BigInt(fileBytes - LENGTH_BYTES))
    throw corrupt(where, `its header claims ${length} bytes, but the whole file has only ${fileBytes}`);
  return Number(length);
}

/**
 * Reads and checks a header.
 *
 * @param dataBytes how many bytes follow the header.
 * @returns the tensors in the order of their data.
 * @throws `corrupt_data` saying what is wrong with which tensor.
 */
export function parseHeader(header: Uint8Array, dataBytes: number, where: string): readonly TensorEntry[] {
  const entries = Object.entries(parseJson(header, where))
    .filter(([name]) => name !== METADATA)
    .map(([name, value]) => parseEntry(name, value, where))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of entries) {
    if (begin < position) throw corrupt(where, `tensor "${name}" overlaps the one before it at byte ${begin}`);
    if (begin > position) throw corrupt(where, `there is a gap of ${begin - position} bytes before tensor "${name}"`);
    position = end;
  }
  if (position > dataBytes)
    throw corrupt(where, `it is truncated: its tensors need ${position} bytes of data, and it has ${dataBytes}`);
  if (position < dataBytes) throw corrupt(where, `${dataBytes - position} bytes at its end belong to no tensor`);
  return entries;
}

function parseJson(header: Uint8Array, where: string): object {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(header);
    json = JSON.parse(text);
  } catch (cause) {
    throw new WeftError('corrupt_data', `${where} is corrupt: its header is not valid JSON`, { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json) || !text.startsWith('{'))
    throw corrupt(where, 'its header is not a JSON object');
  const twice = duplicateKey(text);
  if (twice !== undefined) throw corrupt(where, `its header holds "${twice}" twice`);
  return json;
}

function parseEntry(name: string, value: unknown, where: string): TensorEntry {
  const fail = (what: string): WeftError => corrupt(where, `tensor "${name}" ${what}`);
  if (typeof value !== 'object' || value === null) throw fail('is not described by an object');
  const dtype = 'dtype' in value ? value.dtype : undefined;
  const elementBytes = DTYPE_BYTES.get(dtype);
  if (typeof dtype !== 'string' || elementBytes === undefined)
    throw fail(`has the unknown dtype ${JSON.stringify(dtype)}`);
  const shape = 'shape' in value ? value.shape : undefined;
  if (!isWholeNumbers(shape)) throw fail(`has the impossible shape ${JSON.stringify(shape)}`);
  const offsets = 'data_offsets' in value ? value.data_offsets : undefined;
  if (!isWholeNumbers(offsets) || offsets.length !== 2)
    throw fail(`has the impossible offsets ${JSON.stringify(offsets)}`);
  const [begin = 0, end = 0] = offsets;
  if (end < begin) throw fail(`ends at byte ${end}, before it begins at byte ${begin}`);
  const bytes = shape.reduce((product, size) => product * size, elementBytes);
  if (bytes !== end - begin)
    throw fail(
      `of shape ${formatShape(shape)} and dtype ${dtype} needs ${bytes} bytes, but its offsets hold ${end - begin}`,
    );
  return { name, dtype, shape, begin, end };
}

/** The number of elements of a shape; throws `invalid_argument` naming the tensor when there cannot be such a one. */
export function elementCount(name: string, shape: readonly number[]): number {
  const count = shape.reduce((product, size) => product * size, 1);
  if (!isWholeNumbers(shape) || !Number.isSafeInteger(count * 4))
    throw new WeftError('invalid_argument', `tensor "${name}" has the impossible shape ${formatShape(shape)}`);
  return count;
}

/** "[2, 3]", for messages. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

function isWholeNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function corrupt(where: string, what: string): WeftError {
  return new WeftError('corrupt_data', `${where} is corrupt: ${what}`);
}

/**
 * The first key that an object of a JSON text holds twice, or `undefined`. `JSON.parse` silently keeps the last one,
 * so two readers of a file may see different things.
 *
 * @param json a text that `JSON.parse` accepts.
 */
function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g;
  for (let match = token.exec(json); match !== null; match = token.exec(json)) {
    const text = match[0];
    if (text === '{') open.push(new Set());
    else if (text === '[') open.push(undefined);
    else if (text === '}' || text === ']') open.pop();
    else if (match[1] !== undefined) {
      const key: unknown = JSON.parse(text.slice(0, text.length - match[1].length));
      const keys = open.at(-1);
      if (typeof key !== 'string' || keys === undefined) continue;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}
