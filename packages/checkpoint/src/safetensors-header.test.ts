import { WeftError } from '@weft/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHeader, headerLength, LENGTH_BYTES, parseHeader } from './safetensors-header.js';

const FILE = 'shard.safetensors';

function headerOf(json: string | object): Uint8Array {
  return Buffer.from(typeof json === 'string' ? json : JSON.stringify(json));
}

function f32(begin: number, end: number, shape: readonly number[] = [(end - begin) / 4]) {
  return { dtype: 'F32', shape, data_offsets: [begin, end] };
}

describe('a safetensors header', () => {
  it('is read back as it was written, with the data 8-byte aligned', () => {
    const names = fc.uniqueArray(fc.string().filter((name) => name !== '__metadata__'));
    const shapes = fc.array(fc.nat(5), { maxLength: 4 });
    fc.assert(
      fc.property(names, fc.infiniteStream(shapes), (all, stream) => {
        const tensors = all.map((name) => ({ name, shape: stream.next().value as readonly number[] }));
        const bytes = encodeHeader(tensors, { format: 'pt' });
        expect(bytes.length % 8).toBe(0);
        expect(headerLength(bytes, bytes.length, FILE)).toBe(bytes.length - LENGTH_BYTES);
        const dataBytes = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 4), 0);
        const read = parseHeader(bytes.subarray(LENGTH_BYTES), dataBytes, FILE);
        const byName = new Map(read.map((entry) => [entry.name, entry.shape]));
        expect(byName.size).toBe(tensors.length);
        for (const { name, shape } of tensors) expect(byName.get(name)).toEqual(shape);
      }),
    );
  });

  it('refuses to be written with two tensors of one name, the reserved name or an impossible shape', () => {
    const tensor = (name: string, ...shape: number[]) => ({ name, shape });
    expect(() => encodeHeader([tensor('a', 1), tensor('a', 2)], {})).toThrow(
      'two tensors of a checkpoint are called "a"',
    );
    expect(() => encodeHeader([tensor('__metadata__', 1)], {})).toThrow('__metadata__');
    expect(() => encodeHeader([tensor('a', -1)], {})).toThrow('tensor "a" has the impossible shape [-1]');
    expect(() => encodeHeader([tensor('a', 2 ** 40, 2 ** 40)], {})).toThrow('impossible shape');
  });

  it('accepts empty tensors, scalars and trailing spaces', () => {
    const header = headerOf(`${JSON.stringify({ empty: f32(0, 0), scalar: f32(0, 4, []), b: f32(4, 12) })}      `);
    expect(parseHeader(header, 12, FILE).map(({ name }) => name)).toEqual(['empty', 'scalar', 'b']);
  });

  it.each<[string, string | object, number, string]>([
    ['an overlap', { a: f32(0, 8), b: f32(4, 12) }, 12, 'tensor "b" overlaps the one before it at byte 4'],
    ['a gap', { a: f32(0, 8), b: f32(12, 16) }, 16, 'a gap of 4 bytes before tensor "b"'],
    ['a gap at the start', { a: f32(4, 8) }, 8, 'a gap of 4 bytes before tensor "a"'],
    ['data that ends early', { a: f32(0, 8) }, 5, 'truncated: its tensors need 8 bytes of data, and it has 5'],
    ['data that goes on', { a: f32(0, 8) }, 9, '1 bytes at its end belong to no tensor'],
    ['offsets that run backwards', { a: f32(8, 0, [2]) }, 8, 'tensor "a" ends at byte 0, before it begins at byte 8'],
    [
      'offsets that contradict the shape',
      { a: f32(0, 8, [3]) },
      8,
      'shape [3] and dtype F32 needs 12 bytes, but its offsets hold 8',
    ],
    [
      'three offsets',
      { a: { ...f32(0, 8), data_offsets: [0, 8, 8] } },
      8,
      'tensor "a" has the impossible offsets [0,8,8]',
    ],
    ['a negative offset', { a: { ...f32(0, 8), data_offsets: [-8, 0] } }, 8, 'impossible offsets [-8,0]'],
    ['a fractional size', { a: f32(0, 8, [0.5, 4]) }, 8, 'tensor "a" has the impossible shape [0.5,4]'],
    ['an unknown dtype', { a: { ...f32(0, 8), dtype: 'F33' } }, 8, 'tensor "a" has the unknown dtype "F33"'],
    ['a tensor that is no object', { a: 3 }, 8, 'tensor "a" is not described by an object'],
    [
      'a name twice',
      `{"a":${JSON.stringify(f32(0, 4))},"\\u0061":${JSON.stringify(f32(4, 8))}}`,
      8,
      'its header holds "a" twice',
    ],
    ['a field twice', '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4, 'holds "dtype" twice'],
    ['broken JSON', '{"a":', 8, 'its header is not valid JSON'],
    ['a list', '[]', 0, 'its header is not a JSON object'],
  ])('with %s is refused', (_, json, dataBytes, message) => {
    const refused = () => parseHeader(headerOf(json), dataBytes, FILE);
    expect(refused).toThrow(WeftError);
    expect(refused).toThrow(`${FILE} is corrupt: `);
    expect(refused).toThrow(message);
  });

  it('with bytes that are not UTF-8 is refused', () => {
    const header = Uint8Array.from([...headerOf('{"'), 0xff, ...headerOf('":3}')]);
    expect(() => parseHeader(header, 0, FILE)).toThrow('not valid JSON');
  });

  it('of an absurd length is refused before memory is taken', () => {
    const prefix = (length: bigint) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(length);
      return bytes;
    };
    expect(() => headerLength(prefix(2n ** 63n), 2 ** 40, FILE)).toThrow(
      'claims 9223372036854775808 bytes, over the limit',
    );
    expect(() => headerLength(prefix(1000n), 500, FILE)).toThrow('claims 1000 bytes, but the whole file has only 500');
  });

  it('does not take a name inside a text, a list or another object for a duplicate', () => {
    const json = {
      'a":{"a': { ...f32(0, 4, []) },
      b: { ...f32(4, 8, [1]) },
      shape: f32(8, 8),
      __metadata__: { b: '{"b":1,"b":2}' },
    };
    expect(parseHeader(headerOf(json), 8, FILE)).toHaveLength(3);
  });
});
