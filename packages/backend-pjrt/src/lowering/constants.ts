import { elementCount, type ValueInfo } from '@weft/tensor';

/**
 * A constant as StableHLO writes it. Numbers are written by their bits, so that they are exact: "dense<0x3F800000>" is 1.
 * @param bytes row-major, little-endian
 */
export function denseLiteral(info: ValueInfo, bytes: Uint8Array): string {
  const count = elementCount(info.shape);
  if (count === 0) return 'dense<>';
  const width = bytes.length / count;
  const isSplat = bytes.every((byte, i) => byte === bytes[i % width]);
  if (isSplat) return `dense<${elementLiteral(info, bytes.subarray(0, width))}>`;
  // One hexadecimal text is all elements in the order of memory; single bits would be packed.
  if (info.dtype === 'bool') return `dense<${nested(info.shape, [...bytes].map(boolLiteral))}>`;
  return `dense<"0x${hex(bytes)}">`;
}

function elementLiteral({ dtype }: ValueInfo, bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (dtype) {
    case 'bool':
      return boolLiteral(view.getUint8(0));
    case 'int32':
      return `${view.getInt32(0, true)}`;
    case 'int64':
      return `${view.getBigInt64(0, true)}`;
    case 'uint8':
      return `${view.getUint8(0)}`;
    default:
      return `0x${hex(bytes.toReversed())}`;
  }
}

function boolLiteral(byte: number): string {
  return byte === 0 ? 'false' : 'true';
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex').toUpperCase();
}

function range(length: number): number[] {
  return [...Array(length).keys()];
}

/** Literals in the brackets of a shape: "[[a, b], [c, d]]". */
function nested([size, ...rest]: readonly number[], literals: readonly string[]): string {
  if (size === undefined) return literals[0] ?? '';
  const step = literals.length / size;
  const parts = range(size).map((i) => nested(rest, literals.slice(i * step, (i + 1) * step)));
  return `[${parts.join(', ')}]`;
}

/** The bytes of one number in a type of elements. */
export function numberBytes(number: number, dtype: ValueInfo['dtype']): Uint8Array {
  switch (dtype) {
    case 'int32':
      return new Uint8Array(Int32Array.of(number).buffer);
    case 'int64':
      return new Uint8Array(BigInt64Array.of(BigInt(number)).buffer);
    case 'bfloat16':
      // The upper half of a float32; what is written here (0, 1, infinity and small whole numbers) fits.
      return new Uint8Array(Float32Array.of(number).buffer).slice(2);
    case 'uint8':
    case 'bool':
      return Uint8Array.of(number);
    default:
      return new Uint8Array(Float32Array.of(number).buffer);
  }
}
