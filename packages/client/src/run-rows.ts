import { join } from 'node:path';
import { curveValues, type MetricsRow, type RunView } from '@weft/contracts';
import { rowsFrom } from './metrics-file.js';

/** Rows of `metrics.jsonl` that follow each other: from a byte offset on, as long as their step is below `endStep`. */
interface Stretch {
  readonly offset: number;
  readonly firstStep: number;
  readonly endStep: number;
}

/**
 * The rows of a run as they were when it was opened, one after the other, without those that were rolled back. The file is read
 * twice, first for the names of its curves; nothing of it is kept in memory.
 */
export class RunRows implements AsyncIterable<MetricsRow> {
  /** The names of all curves, in the order in which they first appear; see `curveValues`. */
  readonly names: readonly string[];
  /** The step of the last row; 0 when there is none. */
  readonly lastStep: number;
  readonly #path: string;
  readonly #stretches: readonly Stretch[];

  /** @param run its directory is read; without a `metrics.jsonl` there are no rows */
  static async open({ directory }: Pick<RunView, 'directory'>): Promise<RunRows> {
    const path = join(directory, 'metrics.jsonl');
    const names = new Set<string>();
    let stretches: Stretch[] = [];
    let lastStep = 0;
    for await (const { row, start } of rowsFrom(path, 0)) {
      if (row === undefined) continue;
      for (const name of curveValues(row).keys()) names.add(name);
      if (row.step <= lastStep || stretches.length === 0) {
        // Steps that come again replace those that were rolled back.
        const kept = stretches.filter(({ firstStep }) => firstStep < row.step);
        const cut = kept.map((each) => ({ ...each, endStep: Math.min(each.endStep, row.step) }));
        stretches = [...cut, { offset: start, firstStep: row.step, endStep: Number.POSITIVE_INFINITY }];
      }
      lastStep = row.step;
    }
    return new RunRows(path, [...names], lastStep, stretches);
  }

  private constructor(path: string, names: readonly string[], lastStep: number, stretches: readonly Stretch[]) {
    this.#path = path;
    this.names = names;
    this.lastStep = lastStep;
    this.#stretches = stretches;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MetricsRow, void, undefined> {
    for (const { offset, endStep } of this.#stretches)
      for await (const { row } of rowsFrom(this.#path, offset)) {
        if (row === undefined) continue;
        if (row.step >= endStep || row.step > this.lastStep) break;
        yield row;
      }
  }
}
