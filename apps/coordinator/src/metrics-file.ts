import { appendFile, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { MetricsRow } from '@weft/coordination';
import { syncDirectory } from '@weft/store';

/** `metrics.jsonl` of a run: one row per step, in the order of the steps. */
export class MetricsFile {
  readonly path: string;

  constructor(runDirectory: string) {
    this.path = join(runDirectory, 'metrics.jsonl');
  }

  async append(row: MetricsRow): Promise<void> {
    await appendFile(this.path, `${JSON.stringify(row)}\n`);
  }

  /** The rows; a last line that a crash tore is left out, and so is what is no row. */
  async read(): Promise<readonly MetricsRow[]> {
    return (await this.#text()).split('\n').flatMap(parseRow);
  }

  /** Replaces the file: a reader, and a machine that loses power, sees the old rows or the new ones. */
  async replace(rows: readonly MetricsRow[]): Promise<void> {
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

function parseRow(line: string): MetricsRow[] {
  try {
    const row: unknown = JSON.parse(line);
    return typeof row === 'object' && row !== null && 'step' in row ? [row as MetricsRow] : [];
  } catch {
    return [];
  }
}
