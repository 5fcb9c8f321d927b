import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { curveValues, type MetricsRow, parseMetricsRow } from '@weft/contracts';
import { isMissing, readBefore, writeJsonFile } from '@weft/files';
import { lineAt, openIfThere, rowsFrom } from './metrics-file.js';

/** How much of the end of the part that is known is compared, to notice that the file was replaced. */
const TAIL_BYTES = 128;
const VERSION = 1;
const NUMBER_BYTES = Float64Array.BYTES_PER_ELEMENT;

/** Where a row lies in `metrics.jsonl`, beside the values of its curves. */
const OFFSET = 'offset';

/** `curves/index.json`: what the other files of the folder hold. File n has the values of `names[n]`, step after step. */
interface ColumnsIndex {
  readonly version: number;
  /** So much of `metrics.jsonl` is in the columns. */
  readonly bytes: number;
  /** The last bytes before `bytes`. */
  readonly tail: string;
  readonly lastStep: number;
  readonly names: readonly string[];
}

/**
 * The numbers of `metrics.jsonl` in columns: one file of float64 values for every curve, in which step s is value s - 1, so that
 * a range of steps is one read. A cache: it is ignored and made again when it does not fit `metrics.jsonl`. Rows that
 * are not in the files yet are read from `metrics.jsonl` and kept in memory.
 */
export class MetricsColumns {
  readonly #directory: string;
  /** What is on disk, as long as no row has rolled it back. */
  #saved: ColumnsIndex | undefined;
  /** Of steps after the saved ones: `values[at]` is of step `saved + 1 + at`. */
  readonly #fresh = new Map<string, number[]>();
  #bytes: number;
  #lastStep: number;

  /** Reads what is known and every row since. @param directory of the run */
  static async open(directory: string): Promise<MetricsColumns> {
    const columns = new MetricsColumns(directory, await readIndex(directory));
    await columns.update();
    return columns;
  }

  private constructor(directory: string, saved: ColumnsIndex | undefined) {
    this.#directory = directory;
    this.#saved = saved;
    this.#bytes = saved?.bytes ?? 0;
    this.#lastStep = saved?.lastStep ?? 0;
  }

  /** The step of the last row; 0 when there is none. */
  get lastStep(): number {
    return this.#lastStep;
  }

  /** Rows that only memory has. */
  get freshSteps(): number {
    return this.#lastStep - this.#savedSteps;
  }

  /** The names of all curves, sorted. */
  get names(): readonly string[] {
    const names = new Set([...(this.#saved?.names ?? []), ...this.#fresh.keys()]);
    names.delete(OFFSET);
    return [...names].sort();
  }

  /** Reads the rows that were written since. */
  async update(): Promise<void> {
    const path = join(this.#directory, 'metrics.jsonl');
    for await (const { row, start, end } of rowsFrom(path, this.#bytes)) {
      this.#bytes = end;
      if (row !== undefined) await this.#add(row, start);
    }
  }

  /** The values of the steps `first` to `last`, both included; NaN where there is none. */
  async read(name: string, first: number, last: number): Promise<Float64Array> {
    const values = new Float64Array(Math.max(0, last - first + 1)).fill(Number.NaN);
    const saved = Math.min(last, this.#savedSteps);
    const at = this.#saved?.names.indexOf(name) ?? -1;
    if (at >= 0 && saved >= first) await readNumbers(columnFile(this.#directory, at), values, first, saved);
    const fresh = this.#fresh.get(name) ?? [];
    for (let step = Math.max(first, this.#savedSteps + 1); step <= last; step++)
      values[step - first] = fresh[step - this.#savedSteps - 1] ?? Number.NaN;
    return values;
  }

  /** The rows of some steps, in their order; a step without a row is left out. */
  async rows(steps: readonly number[]): Promise<readonly MetricsRow[]> {
    const [first = 1, last = 0] = [steps[0], steps.at(-1)];
    const offsets = await this.read(OFFSET, first, last);
    const file = await openIfThere(join(this.#directory, 'metrics.jsonl'));
    if (file === undefined) return [];
    const rows: MetricsRow[] = [];
    try {
      for (const step of steps) {
        const offset = offsets[step - first];
        if (offset === undefined || Number.isNaN(offset)) continue;
        const row = parseMetricsRow(await lineAt(file, offset));
        if (row?.step === step) rows.push(row);
      }
    } finally {
      await file.close();
    }
    return rows;
  }

  /** Every row of a range of steps, both included, in their order. */
  async rowsBetween(first: number, last: number): Promise<readonly MetricsRow[]> {
    const offsets = await this.read(OFFSET, first, Math.min(last, this.#lastStep));
    const offset = offsets.find((each) => !Number.isNaN(each));
    if (offset === undefined) return [];
    const rows: MetricsRow[] = [];
    for await (const { row } of rowsFrom(join(this.#directory, 'metrics.jsonl'), offset)) {
      if (row !== undefined && row.step > last) break;
      if (row !== undefined && row.step >= first) rows.push(row);
    }
    return rows;
  }

  /** Where the row of a step ends in `metrics.jsonl`; undefined when that row or one before it is missing. */
  async bytesOf(step: number): Promise<number | undefined> {
    const offsets = await this.read(OFFSET, 1, Math.min(step + 1, this.#lastStep));
    if (this.#lastStep < step || offsets.subarray(0, step).some(Number.isNaN)) return undefined;
    return offsets[step] ?? this.#bytes;
  }

  /** Writes what only memory has. To be called by one process at a time: the coordinator of the run. */
  async save(): Promise<void> {
    if (this.freshSteps === 0 && this.#saved !== undefined) return;
    const folder = columnsFolder(this.#directory);
    if (this.#saved === undefined) await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    const names = [...new Set([...(this.#saved?.names ?? []), ...this.#fresh.keys()])];
    const first = this.#savedSteps + 1;
    for (const [at, name] of names.entries()) {
      const fresh = this.#fresh.get(name);
      if (fresh === undefined) continue;
      await writeNumbers(
        columnFile(this.#directory, at),
        Float64Array.from(fresh, (value) => value ?? Number.NaN),
        first,
      );
    }
    const tail = await readTail(this.#directory, this.#bytes);
    const index = { version: VERSION, bytes: this.#bytes, tail, lastStep: this.#lastStep, names };
    // Last: what an older index names is still there, and values after its last step do not count.
    await writeJsonFile(indexFile(this.#directory), index);
    this.#saved = index;
    this.#fresh.clear();
  }

  get #savedSteps(): number {
    return this.#saved?.lastStep ?? 0;
  }

  async #add(row: MetricsRow, offset: number): Promise<void> {
    if (row.step <= this.#savedSteps) await this.#startAgain(row.step);
    const at = row.step - this.#savedSteps - 1;
    if (row.step <= this.#lastStep)
      for (const values of this.#fresh.values()) values.length = Math.min(values.length, at);
    for (const [name, value] of [...curveValues(row), [OFFSET, offset] as const]) {
      const values = this.#fresh.get(name) ?? [];
      this.#fresh.set(name, values);
      while (values.length < at) values.push(Number.NaN);
      values[at] = value;
    }
    this.#lastStep = row.step;
  }

  /** A row rolls back steps that are on disk: all columns go to memory, and the next `save` writes them again. */
  async #startAgain(step: number): Promise<void> {
    const { names = [] } = this.#saved ?? {};
    const kept = new Map<string, number[]>();
    for (const name of names) kept.set(name, [...(await this.read(name, 1, step - 1))]);
    this.#saved = undefined;
    this.#fresh.clear();
    for (const [name, values] of kept) this.#fresh.set(name, values);
    this.#lastStep = step - 1;
  }
}

const columnsFolder = (directory: string) => join(directory, 'curves');
const indexFile = (directory: string) => join(columnsFolder(directory), 'index.json');
const columnFile = (directory: string, at: number) => join(columnsFolder(directory), `${at}.f64`);

/** Undefined when there is none, or none that fits `metrics.jsonl`. */
async function readIndex(directory: string): Promise<ColumnsIndex | undefined> {
  try {
    const index: unknown = JSON.parse(await readFile(indexFile(directory), 'utf8'));
    return isIndex(index) && (await readTail(directory, index.bytes)) === index.tail ? index : undefined;
  } catch {
    return undefined;
  }
}

function isIndex(value: unknown): value is ColumnsIndex {
  if (typeof value !== 'object' || value === null) return false;
  const { version, bytes, tail, lastStep, names }: Partial<Record<keyof ColumnsIndex, unknown>> = { ...value };
  return (
    version === VERSION &&
    Number.isSafeInteger(bytes) &&
    Number.isSafeInteger(lastStep) &&
    typeof tail === 'string' &&
    Array.isArray(names) &&
    names.every((name) => typeof name === 'string')
  );
}

const readTail = (directory: string, bytes: number) => readBefore(join(directory, 'metrics.jsonl'), bytes, TAIL_BYTES);

/** Fills the values of the steps `first` to `last`; what the file lacks stays as it was. */
async function readNumbers(path: string, values: Float64Array, first: number, last: number): Promise<void> {
  const file = await openIfThere(path);
  if (file === undefined) return;
  try {
    const { size } = await file.stat();
    const count = Math.min(last, Math.floor(size / NUMBER_BYTES)) - first + 1;
    if (count <= 0) return;
    const bytes = new Uint8Array(values.buffer, 0, count * NUMBER_BYTES);
    await file.read(bytes, 0, bytes.length, (first - 1) * NUMBER_BYTES);
  } finally {
    await file.close();
  }
}

/** Writes the values of the steps from `first` on; steps that the file lacks before them have none. */
async function writeNumbers(path: string, values: Float64Array, first: number): Promise<void> {
  const file = await open(path, 'r+').catch((thrown: unknown) => {
    if (isMissing(thrown)) return open(path, 'w+');
    throw thrown;
  });
  try {
    const { size } = await file.stat();
    const gap = first - 1 - Math.floor(size / NUMBER_BYTES);
    const all = gap > 0 ? Float64Array.from([...new Array<number>(gap).fill(Number.NaN), ...values]) : values;
    const bytes = new Uint8Array(all.buffer, all.byteOffset, all.byteLength);
    await file.write(bytes, 0, bytes.length, (first - 1 - Math.max(0, gap)) * NUMBER_BYTES);
    // Values of steps that were rolled back.
    await file.truncate((first - 1 + values.length) * NUMBER_BYTES);
    await file.datasync();
  } finally {
    await file.close();
  }
}
