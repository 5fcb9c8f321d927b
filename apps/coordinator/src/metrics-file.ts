import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type MetricsRow, parseMetricsRow } from '@weft/contracts';
import { syncDirectory } from '@weft/files';

/**
 * `metrics.jsonl` of a run: one row per step, in the order of the steps.
 *
 * It stays open from row to row. A coordinator that was stopped while another took its place and replaced the file finishes its last
 * row in the old one, which nobody sees any more.
 */
export class MetricsFile {
  readonly path: string;
  #file: Promise<FileHandle> | undefined;

  constructor(runDirectory: string) {
    this.path = join(runDirectory, 'metrics.jsonl');
  }

  async append(row: MetricsRow): Promise<void> {
    this.#file ??= open(this.path, 'a');
    try {
      await (await this.#file).appendFile(`${JSON.stringify(row)}\n`);
    } catch (thrown) {
      // The next row tries again, where opening failed.
      await this.close();
      throw thrown;
    }
  }

  /** Lets go of the file; the next row opens it again. */
  async close(): Promise<void> {
    const opening = this.#file;
    this.#file = undefined;
    const file = await opening?.catch(() => undefined);
    await file?.close();
  }

  /** The rows; a last line that a crash tore is left out, and so is what is no row. */
  async read(): Promise<readonly MetricsRow[]> {
    return (await this.#text()).split('\n').flatMap((line) => parseMetricsRow(line) ?? []);
  }

  /** Replaces the file: a reader, and a machine that loses power, sees the old rows or the new ones. */
  async replace(rows: readonly MetricsRow[]): Promise<void> {
    await this.close();
    const temporary = `${this.path}.tmp`;
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
    await syncDirectory(dirname(this.path));
  }

  async #text(): Promise<string> {
    try {
      return await readFile(this.path, 'utf8');
    } catch (thrown) {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return '';
      throw thrown;
    }
  }
}
