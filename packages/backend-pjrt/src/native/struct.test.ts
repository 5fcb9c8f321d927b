import { expect, test } from 'vitest';
import { FUNCTIONS, STRUCTS } from './functions.js';
import { addressOf, copyFrom, layoutOf, pointersFrom, Struct, textBytes, textFrom } from './struct.js';

test('fields lie where C puts them, and a struct ends with its last field', () => {
  expect(layoutOf({}).size).toBe(16);
  expect(layoutOf({ event: 'pointer' })).toEqual({ offsets: { event: 16 }, size: 24, stride: 24 });
  const layout = layoutOf({ number: 'int32', pointer: 'pointer', flag: 'bool', other: 'int32', last: 'bool' });
  expect(layout).toEqual({
    offsets: { number: 16, pointer: 24, flag: 32, other: 36, last: 40 },
    size: 41,
    stride: 48,
  });
});

test('sizes are those of pjrt_c_api.h', () => {
  // PJRT_STRUCT_SIZE of the header, counted by hand.
  expect(layoutOf(FUNCTIONS.Client_BufferFromHostBuffer.fields).size).toBe(120);
  expect(layoutOf(FUNCTIONS.Device_MemoryStats.fields).size).toBe(185);
  expect(layoutOf(FUNCTIONS.LoadedExecutable_Execute.fields).size).toBe(80);
  expect(layoutOf(STRUCTS.NamedValue).size).toBe(56);
  expect(layoutOf(STRUCTS.ExecuteOptions).size).toBe(112);
});

test('what is written into a struct is read from it', () => {
  const fields = { address: 'pointer', size: 'int64', code: 'int32', flag: 'bool' } as const;
  const struct = new Struct(fields, { address: 2n ** 63n + 5n, size: 2 ** 40, code: -3, flag: true });
  expect(struct.values()).toEqual({ address: 2n ** 63n + 5n, size: 2 ** 40, code: -3, flag: true });
  expect(new Struct(fields, {}).values()).toEqual({ address: 0n, size: 0, code: 0, flag: false });
  expect(new DataView(struct.bytes.buffer).getBigUint64(0, true)).toBe(37n);
});

test('a field may point at arrays, at structs and at lists of both', () => {
  const fields = { data: 'pointer' } as const;
  const text = textBytes('weft');
  expect(textFrom(new Struct(fields, { data: text }).values().data, 4)).toBe('weft');

  const structs = [7n, 8n].map((data) => new Struct(fields, { data }));
  const outer = new Struct(fields, { data: structs });
  const bytes = copyFrom(outer.values().data, 48);
  expect([16, 40].map((offset) => new DataView(bytes.buffer).getBigUint64(offset, true))).toEqual([7n, 8n]);

  const lists = new Struct(fields, { data: [text, Float32Array.of(1)] });
  expect(pointersFrom(lists.values().data, 2)[0]).toBe(addressOf(text));
});

test('small arrays stay where they are once their address was taken', () => {
  const small = Float32Array.of(1, 2);
  const address = addressOf(small);
  for (let i = 0; i < 100; i++) new Array(100_000).fill(i);
  small[1] = 3;
  expect(new Float32Array(copyFrom(address, 8).buffer)).toEqual(Float32Array.of(1, 3));
});
