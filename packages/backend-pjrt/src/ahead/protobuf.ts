/** A field of a message in protobuf's wire format: a number, or bytes. */
export interface ProtoField {
  readonly number: number;
  /** Of a varint; -1 for other kinds. */
  readonly value: number;
  /** Of text, messages and packed lists; empty for other kinds. */
  readonly bytes: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** Reads the fields of a message, in their order. Numbers of 8 and 4 fixed bytes are passed over. */
export function* protoFields(message: Uint8Array): Generator<ProtoField> {
  const reader = new VarintReader(message);
  while (!reader.isAtEnd) {
    const tag = reader.next();
    const [number, kind] = [tag >>> 3, tag & 7];
    if (kind === 0) yield { number, value: reader.next(), bytes: NOTHING };
    else if (kind === 2) yield { number, value: -1, bytes: reader.take(reader.next()) };
    else reader.take(kind === 1 ? 8 : 4);
  }
}

/** A list of varints, packed as proto3 packs them. */
export function packedNumbers(bytes: Uint8Array): number[] {
  const reader = new VarintReader(bytes);
  const numbers: number[] = [];
  while (!reader.isAtEnd) numbers.push(reader.next());
  return numbers;
}

export function textOf({ bytes }: ProtoField): string {
  return new TextDecoder().decode(bytes);
}

class VarintReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#offset >= this.#bytes.length;
  }

  /** Exact to 2^53; ids of instructions are below. */
  next(): number {
    let [value, unit] = [0, 1];
    for (;;) {
      const byte = this.#bytes[this.#offset++] ?? 0;
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
      unit *= 0x80;
    }
  }

  take(length: number): Uint8Array {
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }
}
