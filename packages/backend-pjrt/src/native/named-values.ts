import { STRUCTS, VALUE_TYPE } from './functions.js';
import { copyFrom, int64sFrom, layoutOf, type Pointer, readStruct, Struct, textBytes, textFrom } from './struct.js';

/** Settings or facts by the plugin's own names: `cpu_device_count`, `stablehlo_current_version`. */
export type NamedValues = Readonly<Record<string, string | number | boolean>>;

/** What C may be given: a list of whole numbers too. */
export type NamedInputs = Readonly<Record<string, string | number | boolean | readonly number[]>>;

/** Settings that are a `float` even where they are whole. */
const FLOATS = new Set(['memory_fraction']);

/** The array that C takes for them. A whole number is an `int64_t`, another one a `float`. */
export function namedValueStructs(values: NamedValues | NamedInputs): Struct[] {
  return Object.entries(values).map(([key, value]) => {
    const name = textBytes(key);
    const typed = FLOATS.has(key) ? floatValue(Number(value)) : typedValue(value);
    return new Struct(STRUCTS.NamedValue, { name, nameSize: name.length, valueSize: 1, ...typed });
  });
}

/** Reads an array of them in native memory; lists of integers are joined by points, as versions are. */
export function readNamedValues(address: Pointer, count: number): NamedValues {
  const { stride } = layoutOf(STRUCTS.NamedValue);
  const { buffer } = copyFrom(address, stride * count);
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const { name, nameSize, type, value, valueSize } = readStruct(
        STRUCTS.NamedValue,
        new DataView(buffer, i * stride, stride),
      );
      return [textFrom(name, nameSize), readValue(type, value, valueSize)];
    }),
  );
}

function floatValue(value: number) {
  return { type: VALUE_TYPE.float, value: BigInt(new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0) };
}

function typedValue(value: NamedInputs[string]) {
  if (typeof value === 'object') {
    return { type: VALUE_TYPE.int64List, value: BigInt64Array.from(value, BigInt), valueSize: value.length };
  }
  if (typeof value === 'boolean') return { type: VALUE_TYPE.bool, value: value ? 1n : 0n };
  if (typeof value === 'string') {
    const text = textBytes(value);
    return { type: VALUE_TYPE.text, value: text, valueSize: text.length };
  }
  if (Number.isInteger(value)) return { type: VALUE_TYPE.int64, value: BigInt(value) };
  return floatValue(value);
}

function readValue(type: number, value: Pointer, size: number): string | number | boolean {
  switch (type) {
    case VALUE_TYPE.text:
      return textFrom(value, size);
    case VALUE_TYPE.int64List:
      return int64sFrom(value, size).join('.');
    case VALUE_TYPE.float:
      return new Float32Array(BigUint64Array.of(value).buffer)[0] ?? 0;
    case VALUE_TYPE.bool:
      return (value & 1n) === 1n;
    default:
      return Number(BigInt.asIntN(64, value));
  }
}
