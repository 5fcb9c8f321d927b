import { isJsonObject, type JsonObject, WeftError } from '@weft/common';

/** The fields of a published configuration, each checked when it is asked for. */
export class Fields {
  readonly #fields: JsonObject;
  readonly #where: string;

  /** @param where names the file, and the group inside it, in errors */
  constructor(fields: JsonObject, where: string) {
    this.#fields = fields;
    this.#where = where;
  }

  /** Whether the field is there and not null. */
  has(field: string): boolean {
    return (this.#fields[field] ?? null) !== null;
  }

  /** A whole number of at least 1. */
  count(field: string, otherwise?: number): number {
    const value = this.number(field, otherwise);
    if (Number.isSafeInteger(value) && value >= 1) return value;
    throw this.#wrong(field, 'a whole number of at least 1');
  }

  number(field: string, otherwise?: number): number {
    const value = this.#fields[field] ?? otherwise;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw this.#wrong(field, 'a number');
  }

  flag(field: string, otherwise: boolean): boolean {
    const value = this.#fields[field] ?? otherwise;
    if (typeof value === 'boolean') return value;
    throw this.#wrong(field, 'true or false');
  }

  /** A list of three numbers, of red, green and blue. */
  colours(field: string, otherwise?: readonly number[]): readonly [number, number, number] {
    const value: unknown = this.#fields[field] ?? otherwise;
    if (Array.isArray(value) && value.length === 3) {
      const [red, green, blue]: unknown[] = value;
      if (typeof red === 'number' && typeof green === 'number' && typeof blue === 'number') return [red, green, blue];
    }
    throw this.#wrong(field, 'three numbers');
  }

  /** A group of fields; undefined where there is none. */
  group(field: string): Fields | undefined {
    const value = this.#fields[field] ?? undefined;
    if (value === undefined) return undefined;
    if (isJsonObject(value)) return new Fields(value, `${this.#where}, ${field}`);
    throw this.#wrong(field, 'a group of fields');
  }

  /** @throws `invalid_argument` for another word: it stands for something that Weft does not compute. */
  oneOf<const Words extends readonly string[]>(field: string, words: Words, otherwise?: Words[number]): Words[number] {
    const value = this.#fields[field] ?? otherwise;
    const word = words.find((each) => each === value);
    if (word !== undefined) return word;
    throw this.#unsupported(field, value, `one of ${words.join(', ')}`);
  }

  /** @throws `invalid_argument` when the field is there and has another value. */
  must(field: string, wanted: string | number | boolean): void {
    const value = this.#fields[field] ?? wanted;
    if (value !== wanted) throw this.#unsupported(field, value, JSON.stringify(wanted));
  }

  #wrong(field: string, wanted: string): WeftError {
    const value = this.#fields[field];
    return value === undefined
      ? new WeftError('corrupt_data', `${this.#where} lacks ${field}, which must be ${wanted}`)
      : new WeftError('corrupt_data', `${this.#where}: ${field} is ${JSON.stringify(value)}, but must be ${wanted}`);
  }

  #unsupported(field: string, value: unknown, wanted: string): WeftError {
    const given = value === undefined ? 'missing' : JSON.stringify(value);
    return new WeftError('invalid_argument', `${this.#where}: ${field} is ${given}, but Weft computes only ${wanted}`);
  }
}
