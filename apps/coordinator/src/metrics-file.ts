import { type FileHandle, open, readFile } from 'node:fs/promises';
import { systemErrorCode } from '@weft/common';
import { type MetricsRow, parseMetricsRow } from '@weft/contracts';
import { writeFileAtomically } from '@weft/files';

/**
 * `metrics.jsonl` of a run: one row per step, in the order of the steps.
 *
 * It stays open from row to row. When another coordinator takes over and replaces the file, a coordinator that was stopped
 * in between writes its last row into the old file, which nobody reads any more.
 */
export class MetricsFile {
  readonly path: string;
  #file: Promise<FileHandle> | undefined;

  constructor(path: string) {
    this.path = path;
  }

  async append(row: MetricsRow): Promise<void> {
    this.#file ??= open(this.path, 'a');
    try {
      await (await this.#file).appendFile(formatRow(row));
    } catch (thrown) {
      // So that the next row tries again.
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

  /** The rows. A last line that a crash tore apart is left out, and so are lines that are not rows. */
  async read(): Promise<readonly MetricsRow[]> {
    return (await this.#text()).split('\n').flatMap((line) => parseMetricsRow(line) ?? []);
  }

  /** Replaces all rows at once: a reader, and a machine that loses power, sees the old rows or the new ones. */
  async replace(rows: readonly MetricsRow[]): Promise<void> {
    await this.close();
    await writeFileAtomically(this.path, rows.map(formatRow).join(''));
  }

  async #text(): Promise<string> {
    try {
      return await readFile(this.path, 'utf8');
    } catch (thrown) {
      if (systemErrorCode(thrown) === 'ENOENT') return '';
      throw thrown;
    }
  }
}

function formatRow(row: MetricsRow): string {
  return `${JSON.stringify(row)}\n`;
}
