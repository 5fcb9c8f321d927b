import { WeftError } from '@weft/common';
import { koffi } from '@weft/native';
import type { Fields, FieldType } from './functions.js';

/** An address in native memory; 0n is C's null. */
export type Pointer = bigint;

/** What a field holds when it is read. */
export type FieldValue<T extends FieldType> = T extends 'pointer' ? Pointer : T extends 'bool' ? boolean : number;
/**
 * Memory of ours that a field points at, which lives as long as the struct. A list of structs is C's array of them, a list
 * of arrays C's array of their addresses.
 */
type PointedAt = ArrayBufferView | Struct | readonly Struct[] | readonly ArrayBufferView[];
type FieldInput<T extends FieldType> = T extends 'pointer' ? Pointer | PointedAt : FieldValue<T> | bigint;
export type StructValues<F extends Fields> = { readonly [K in keyof F]: FieldValue<F[K]> };
export type StructInputs<F extends Fields> = { readonly [K in keyof F]?: FieldInput<F[K]> };

const SIZE: Readonly<Record<FieldType, number>> = { pointer: 8, int64: 8, int32: 4, bool: 1 };
/** `size_t struct_size; PJRT_Extension_Base* extension_start`. */
const HEADER_BYTES = 16;

/** Offsets in bytes of a struct's fields, each at a multiple of its own size as C aligns them. */
export interface Layout {
  readonly offsets: Readonly<Record<string, number>>;
  /**
   * What stands in `struct_size`: where the last field ends, without C's padding behind it. A plugin takes from it which
   * fields its caller knows.
   */
  readonly size: number;
  /** With the padding behind: the distance of two structs in an array. */
  readonly stride: number;
}

export function layoutOf(fields: Fields): Layout {
  const offsets: Record<string, number> = {};
  let size = HEADER_BYTES;
  for (const [name, type] of Object.entries(fields)) {
    offsets[name] = roundUp(size, SIZE[type]);
    size = offsets[name] + SIZE[type];
  }
  return { offsets, size, stride: roundUp(size, 8) };
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/** A struct of the C interface in memory that stays where it is, with everything that its fields point at. */
export class Struct<F extends Fields = Fields> {
  readonly bytes: Uint8Array;
  readonly #fields: F;
  readonly #layout: Layout;
  readonly #view: DataView;
  /** Memory that fields point at, which must not be collected before the struct. */
  readonly #pointedAt: unknown[] = [];

  constructor(fields: F, values: StructInputs<F>) {
    this.#fields = fields;
    this.#layout = layoutOf(fields);
    this.#view = new DataView(new ArrayBuffer(this.#layout.stride));
    this.bytes = new Uint8Array(this.#view.buffer);
    this.#view.setBigUint64(0, BigInt(this.#layout.size), true);
    for (const [name, value] of Object.entries(values)) if (value !== undefined) this.#set(name, value);
  }

  /** Every field as it stands now. */
  values(): StructValues<F> {
    return readStruct(this.#fields, this.#view);
  }

  #set(name: string, value: FieldInput<FieldType>): void {
    const type = this.#fields[name];
    const offset = this.#layout.offsets[name];
    if (type === undefined || offset === undefined) throw new WeftError('internal', `the struct has no field ${name}`);
    if (type === 'int32') this.#view.setInt32(offset, Number(value), true);
    else if (type === 'bool') this.#view.setUint8(offset, value ? 1 : 0);
    else this.#view.setBigInt64(offset, BigInt.asIntN(64, this.#word(value)), true);
  }

  #word(value: FieldInput<FieldType>): bigint {
    if (typeof value !== 'object') return BigInt(value);
    const memory = memoryOf(value);
    this.#pointedAt.push(value, memory);
    return addressOf(memory);
  }
}

function memoryOf(value: PointedAt): ArrayBufferView {
  if (value instanceof Struct) return value.bytes;
  if (ArrayBuffer.isView(value)) return value;
  if (value.every((each) => each instanceof Struct)) return joined(value);
  return BigUint64Array.from(value as readonly ArrayBufferView[], addressOf);
}

function joined(structs: readonly Struct[]): Uint8Array {
  const bytes = new Uint8Array(structs.reduce((sum, struct) => sum + struct.bytes.length, 0));
  let offset = 0;
  for (const struct of structs) {
    bytes.set(struct.bytes, offset);
    offset += struct.bytes.length;
  }
  return bytes;
}

/** Reads a struct that lies at the beginning of a view. */
export function readStruct<F extends Fields>(fields: F, view: DataView): StructValues<F> {
  const { offsets } = layoutOf(fields);
  const values = Object.entries(fields).map(
    ([name, type]) => [name, readField(view, offsets[name] ?? 0, type)] as const,
  );
  return Object.fromEntries(values) as StructValues<F>;
}

function readField(view: DataView, offset: number, type: FieldType): bigint | number | boolean {
  if (type === 'pointer') return view.getBigUint64(offset, true);
  if (type === 'int64') return Number(view.getBigInt64(offset, true));
  return type === 'int32' ? view.getInt32(offset, true) : view.getUint8(offset) !== 0;
}

/**
 * The address of an array of ours. A small typed array lies in V8's own heap, which moves things; asking for its `buffer`
 * takes it out of there for good.
 */
export function addressOf({ buffer, byteOffset }: ArrayBufferView): Pointer {
  return koffi().address(buffer) + BigInt(byteOffset);
}

/** A copy of native memory. */
export function copyFrom(address: Pointer, byteCount: number): Uint8Array<ArrayBuffer> {
  return byteCount === 0 ? new Uint8Array(0) : new Uint8Array(koffi().view(address, byteCount).slice(0));
}

/** Native memory as text. */
export function textFrom(address: Pointer, byteCount: number): string {
  return new TextDecoder().decode(copyFrom(address, byteCount));
}

/** An array of addresses in native memory. */
export function pointersFrom(address: Pointer, length: number): Pointer[] {
  return [...new BigUint64Array(copyFrom(address, 8 * length).buffer)];
}

/** An array of `int64_t` in native memory. */
export function int64sFrom(address: Pointer, length: number): number[] {
  return [...new BigInt64Array(copyFrom(address, 8 * length).buffer)].map(Number);
}

/** Text in memory of ours, with its length in bytes. */
export function textBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
