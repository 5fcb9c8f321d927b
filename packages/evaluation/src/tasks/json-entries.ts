import { isJsonObject, type JsonObject, WeftError } from '@weft/common';
import { fileBytes, readJsonFile } from '@weft/files';

/** The text of a larger file would not fit into one string. */
const LARGEST_FILE_BYTES = 500 * 1024 * 1024;

/** Reads a JSON file of examples. @throws WeftError as `readJsonFile`, and `invalid_argument` for one that is too large. */
export async function readExampleFile(path: string): Promise<unknown> {
  await checkSize(path);
  return readJsonFile(path);
}

/** @throws WeftError `invalid_argument` for a file that is too large to be read at once. */
export async function checkSize(path: string): Promise<void> {
  const size = (await fileBytes(path)) ?? 0;
  if (size <= LARGEST_FILE_BYTES) return;
  throw new WeftError(
    'invalid_argument',
    `${path} has ${size} bytes, but a file of examples may have ${LARGEST_FILE_BYTES}`,
    {
      hint: 'split it, or keep the part that is to be evaluated',
    },
  );
}

/** One entry of a file of examples, whose fields are read by name. Fields that nobody asks for are ignored. */
export class Entry {
  /** The file and the entry, for messages. */
  readonly where: string;
  readonly #value: JsonObject;

  /** @throws WeftError `corrupt_data` when the entry is no object */
  constructor(value: unknown, where: string) {
    if (!isJsonObject(value))
      throw new WeftError('corrupt_data', `${where} is ${typeNameOf(value)}, but must be an object`);
    this.where = where;
    this.#value = value;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#value, name) && this.#value[name] !== null;
  }

  get names(): readonly string[] {
    return Object.keys(this.#value);
  }

  text(name: string): string {
    const value = this.#value[name];
    return typeof value === 'string' && value.trim() !== '' ? value : this.#refuse(name, 'a text that is not empty');
  }

  /** A number or text that names something. */
  id(name: string): string {
    const value = this.#value[name];
    return typeof value === 'string' || typeof value === 'number'
      ? String(value)
      : this.#refuse(name, 'a number or a text');
  }

  texts(name: string): readonly string[] {
    const list = this.list(name);
    const isWrong = list.length === 0 || list.some((each) => typeof each !== 'string');
    return isWrong ? this.#refuse(name, 'a list of texts') : list.map(String);
  }

  list(name: string): readonly unknown[] {
    const value = this.#value[name];
    return Array.isArray(value) ? value : this.#refuse(name, 'a list');
  }

  entry(name: string): Entry {
    return new Entry(this.#value[name], `${this.where}: ${name}`);
  }

  /** A list of objects; each is named by its place in the list. */
  entries(name: string): readonly Entry[] {
    return this.list(name).map((each, i) => new Entry(each, `${this.where}: ${name}[${i}]`));
  }

  /** @throws WeftError `corrupt_data` that names the entry, the field, and what it must be. */
  #refuse(name: string, wanted: string): never {
    const value = this.#value[name];
    const is = value === undefined ? 'is missing' : `is ${typeNameOf(value)}`;
    const known = value === undefined ? ` (it has ${this.names.slice(0, 8).join(', ') || 'no fields'})` : '';
    throw new WeftError('corrupt_data', `${this.where}: ${name} ${is}, but must be ${wanted}${known}`);
  }
}

function typeNameOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'string') return value.trim() === '' ? 'empty' : 'a text';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
