import { WeftError } from '@weft/common';
import type { CheckpointFile } from '@weft/contracts';

export const MANIFEST_NAME = 'manifest.json';
const FORMAT_VERSION = 1;

/** Where a tensor lies. */
export interface CheckpointTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** The name of one of the `files`. */
  readonly file: string;
}

/** What makes a folder a checkpoint: everything needed to go on, and the means to verify it. */
export interface Manifest {
  readonly formatVersion: typeof FORMAT_VERSION;
  readonly weftVersion: string;
  readonly runId: string;
  /** The last step whose update is in the state; 0 for the initial state. */
  readonly step: number;
  /** The global number of the first sequence that is not consumed yet. */
  readonly nextSequence: number;
  /** The resolved RunConfig. */
  readonly config: unknown;
  /** Names the data index the run was trained on; `null` where the writer did not say. */
  readonly dataIdentity: string | null;
  readonly files: readonly CheckpointFile[];
  /** All tensors of all files. */
  readonly tensors: readonly CheckpointTensor[];
  /** The checkpoint this one follows, `null` for the first of a run. */
  readonly previousStep: number | null;
  /** SHA-256 of that checkpoint's manifest as it lies on disk, hexadecimal. */
  readonly previousManifestSha256: string | null;
  /** Why it may hold a broken model, one sentence without its full stop; `null` when nothing speaks against it. */
  readonly unhealthy: string | null;
  /** ISO 8601. */
  readonly createdAt: string;
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  return Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * Reads a manifest.
 *
 * @param where names the file in errors.
 * @throws `version_mismatch` for another format, `corrupt_data` naming the field that cannot be.
 */
export function parseManifest(bytes: Uint8Array, where: string): Manifest {
  const fields = new Fields(parseObject(bytes, where), where);
  const formatVersion = fields.number('formatVersion');
  if (formatVersion !== FORMAT_VERSION)
    throw new WeftError('version_mismatch', `${where} has format ${formatVersion}, this Weft reads ${FORMAT_VERSION}`, {
      hint: 'use the version of Weft that wrote the checkpoint, or a newer one',
    });
  const manifest: Manifest = {
    formatVersion: FORMAT_VERSION,
    weftVersion: fields.text('weftVersion'),
    runId: fields.text('runId'),
    step: fields.number('step'),
    nextSequence: fields.number('nextSequence'),
    config: fields.value('config'),
    dataIdentity: fields.orNull('dataIdentity', () => fields.text('dataIdentity')),
    files: fields.objects('files', (file) => ({
      name: file.text('name', isPlainName, 'a file name without folder'),
      bytes: file.number('bytes'),
      sha256: file.text('sha256', isSha256, 'a SHA-256'),
    })),
    tensors: fields.objects('tensors', (tensor) => ({
      name: tensor.text('name'),
      dtype: tensor.text('dtype'),
      shape: tensor.numbers('shape'),
      file: tensor.text('file'),
    })),
    previousStep: fields.orNull('previousStep', () => fields.number('previousStep')),
    previousManifestSha256: fields.orNull('previousManifestSha256', () =>
      fields.text('previousManifestSha256', isSha256, 'a SHA-256'),
    ),
    unhealthy: fields.has('unhealthy') ? fields.orNull('unhealthy', () => fields.text('unhealthy')) : null,
    createdAt: fields.text('createdAt'),
  };
  checkNames(manifest, where);
  return manifest;
}

function checkNames({ files, tensors }: Manifest, where: string): void {
  const fileNames = new Set(files.map(({ name }) => name));
  if (fileNames.size < files.length) throw corrupt(where, 'it lists a file twice');
  const names = new Set<string>();
  for (const { name, file } of tensors) {
    if (names.has(name)) throw corrupt(where, `it lists tensor "${name}" twice`);
    if (!fileNames.has(file)) throw corrupt(where, `tensor "${name}" lies in "${file}", which it does not list`);
    names.add(name);
  }
}

/** The fields of an object that came from outside, each checked when it is asked for. */
class Fields {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #where: string;

  constructor(fields: object, where: string) {
    this.#fields = { ...fields };
    this.#where = where;
  }

  /** Manifests of older versions lack what came later. */
  has(field: string): boolean {
    return Object.hasOwn(this.#fields, field);
  }

  value(field: string): unknown {
    if (!this.has(field)) throw corrupt(this.#where, `field "${field}" is missing`);
    return this.#fields[field];
  }

  text(field: string, accept: (text: string) => boolean = () => true, wanted = 'a text'): string {
    const value = this.value(field);
    if (typeof value === 'string' && accept(value)) return value;
    throw this.#wrong(field, wanted, value);
  }

  number(field: string): number {
    const value = this.value(field);
    if (isWhole(value)) return value;
    throw this.#wrong(field, 'a whole number', value);
  }

  numbers(field: string): readonly number[] {
    const value = this.value(field);
    if (Array.isArray(value) && value.every(isWhole)) return value;
    throw this.#wrong(field, 'a list of whole numbers', value);
  }

  orNull<T>(field: string, read: () => T): T | null {
    return this.value(field) === null ? null : read();
  }

  objects<T>(field: string, read: (fields: Fields) => T): readonly T[] {
    const value = this.value(field);
    if (!Array.isArray(value)) throw this.#wrong(field, 'a list', value);
    return value.map((item: unknown, index) => {
      if (typeof item !== 'object' || item === null) throw this.#wrong(`${field}[${index}]`, 'an object', item);
      return read(new Fields(item, `${this.#where}, ${field}[${index}]`));
    });
  }

  #wrong(field: string, wanted: string, value: unknown): WeftError {
    return corrupt(this.#where, `field "${field}" must be ${wanted}, not ${JSON.stringify(value)}`);
  }
}

function parseObject(bytes: Uint8Array, where: string): object {
  try {
    const json: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (typeof json === 'object' && json !== null) return json;
  } catch {
    // Reported below.
  }
  throw corrupt(where, 'it is not a JSON object');
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isPlainName(name: string): boolean {
  return /^[\w][\w.-]*$/.test(name);
}

function isSha256(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

function corrupt(where: string, what: string): WeftError {
  return new WeftError('corrupt_data', `${where} is corrupt: ${what}`);
}
