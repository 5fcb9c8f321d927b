import { createReadStream } from 'node:fs';
import { WeftError } from '@weft/common';
import { type MetricsRow, parseMetricsRow } from '@weft/contracts';
import { type AppendableStore, type BlobAppender, diskStore, fileBytes, readText } from '@weft/files';

/**
 * `metrics.jsonl` of a run: one row per step, in the order of the steps.
 *
 * It stays open from row to row. When another coordinator has taken over and replaced the file, a coordinator that was
 * suspended writes its last row into the old file, which is not read any more.
 */
export class MetricsFile {
  readonly path: string;
  readonly #store: AppendableStore;
  #file: Promise<BlobAppender> | undefined;

  constructor(path: string, store: AppendableStore = diskStore) {
    this.path = path;
    this.#store = store;
  }

  async append(row: MetricsRow): Promise<void> {
    this.#file ??= this.#store.openAppend(this.path);
    try {
      await (await this.#file).append(formatRow(row));
    } catch (thrown) {
      // The next row then opens the file again.
      await this.close();
      throw thrown;
    }
  }

  /** Closes the file; the next row opens it again. */
  async close(): Promise<void> {
    const opening = this.#file;
    this.#file = undefined;
    const file = await opening?.catch(() => undefined);
    await file?.close();
  }

  /** The rows, without an incomplete last line and without lines that are not rows. */
  async read(): Promise<readonly MetricsRow[]> {
    return (await this.#text()).split('\n').flatMap((line) => parseMetricsRow(line) ?? []);
  }

  /** Cuts off what comes after so many bytes, as atomically as `replace`. */
  async keepFirst(bytes: number): Promise<void> {
    await this.close();
    if ((await fileBytes(this.path)) === bytes) return;
    const kept = bytes === 0 ? '' : createReadStream(this.path, { end: bytes - 1 });
    await this.#store.write(this.path, kept);
  }

  /** Replaces all rows atomically: readers see the old rows or the new ones, also after a loss of power. */
  async replace(rows: readonly MetricsRow[]): Promise<void> {
    await this.close();
    await this.#store.write(this.path, rows.map(formatRow).join(''));
  }

  async #text(): Promise<string> {
    try {
      return await readText(this.#store, this.path);
    } catch (thrown) {
      if (WeftError.is(thrown, 'not_found')) return '';
      throw thrown;
    }
  }
}

function formatRow(row: MetricsRow): string {
  return `${JSON.stringify(row)}\n`;
}
