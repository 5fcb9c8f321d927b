import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Deferred, deferred, WeftError } from '@weft/common';
import { type IndexRun, ShardIndexer, type ShardTask } from './shard-indexer.js';
import { receivedError, type SentError, type ShardPart, sentError } from './shard-part.js';

/** What became of a shard. */
export type ShardResult = { readonly part: ShardPart } | { readonly error: SentError };

/** Reads shards into a part file of its own. */
export interface UnitReader {
  /** Reads shards in order, up to the first that cannot be read. */
  read(unit: readonly ShardTask[]): Promise<readonly ShardResult[]>;
  /** Ends what is being read at once, where that can be done. */
  kill?(): void;
  close(): Promise<void>;
}

/** The parts of a part file that are complete, one JSON line each. */
const journalFile = (folder: string, number: number) => join(folder, `part-${number}.jsonl`);

/** Reads shards in this process. */
export async function openUnitReader(run: IndexRun, folder: string, file: number): Promise<UnitReader> {
  const indexer = await ShardIndexer.open(run, folder, file);
  return {
    async read(unit) {
      const results: ShardResult[] = [];
      for (const task of unit) {
        try {
          results.push({ part: await indexer.index(task) });
        } catch (thrown) {
          results.push({ error: sentError(thrown) });
          break;
        }
      }
      const lines = results.flatMap((result) => ('part' in result ? [`${JSON.stringify(result.part)}\n`] : []));
      if (lines.length > 0) await appendFile(journalFile(folder, file), lines.join(''));
      return results;
    },
    close: () => indexer.close(),
  };
}

/** Shards of a unit: enough to be worth a message, few enough to share the work out and to see it advance. */
const LARGEST_UNIT_BYTES = 8 * 1024 * 1024;
const MOST_SHARDS_OF_UNIT = 64;
/** A shard whose reader died this often kills readers. */
const MOST_ATTEMPTS = 2;

interface Unit {
  /** The index of its first task. */
  readonly first: number;
  readonly tasks: readonly ShardTask[];
  readonly attempt: number;
}

/**
 * Shares shards out to readers and gives back their parts in the order that is asked for. Readers take the shards in order,
 * so that an error of the first bad shard is known after it and few others were read.
 */
export class ShardQueue {
  readonly #openReader: (file: number) => Promise<UnitReader>;
  readonly #describe: (task: ShardTask) => string;
  readonly #onFinished: (task: ShardTask) => void;
  readonly #units: Unit[];
  readonly #results = new Map<number, ShardResult>();
  readonly #awaited = new Map<number, Deferred<ShardResult>>();
  readonly #working: Promise<void>[];
  readonly #open = new Set<UnitReader>();
  #nextFile: number;
  #isClosed = false;

  /**
   * @param readers at most so many work at a time
   * @param openReader opens one that writes into the part file of that number
   * @param describe names a shard in a message
   */
  constructor(options: {
    readonly tasks: readonly (ShardTask | undefined)[];
    readonly readers: number;
    readonly firstFile: number;
    readonly openReader: (file: number) => Promise<UnitReader>;
    readonly describe: (task: ShardTask) => string;
    readonly onFinished: (task: ShardTask) => void;
  }) {
    this.#openReader = options.openReader;
    this.#describe = options.describe;
    this.#onFinished = options.onFinished;
    this.#nextFile = options.firstFile;
    this.#units = unitsOf(options.tasks, options.readers);
    const readers = Math.min(options.readers, this.#units.length);
    this.#working = Array.from({ length: readers }, () => this.#work());
  }

  /**
   * The part of a task, once it is there. Each can be asked for once.
   *
   * @throws WeftError what is wrong with its shard
   */
  async take(index: number): Promise<ShardPart> {
    const waiting = deferred<ShardResult>();
    const found = this.#results.get(index);
    this.#results.delete(index);
    if (found === undefined) this.#awaited.set(index, waiting);
    const result = found ?? (await waiting.promise);
    if ('error' in result) throw receivedError(result.error);
    return result.part;
  }

  /** Ends the readers. What they are reading is not waited for: it may take minutes. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#units.length = 0;
    for (const reader of this.#open) reader.kill?.();
    await Promise.all(this.#working);
  }

  async #work(): Promise<void> {
    let reader: UnitReader | undefined;
    for (let unit = this.#units.shift(); unit !== undefined; unit = this.#units.shift()) {
      const { first, tasks } = unit;
      try {
        reader ??= await this.#openReader(this.#nextFile++);
        this.#open.add(reader);
        if (this.#isClosed) break;
        const results = await reader.read(tasks);
        for (const [i, result] of results.entries()) this.#put(first + i, result, tasks[i]!);
      } catch (thrown) {
        if (this.#isClosed) break;
        // The reader is lost. What it wrote into its file is complete up to its last unit.
        if (reader !== undefined) this.#open.delete(reader);
        await reader?.close().catch(() => undefined);
        reader = undefined;
        this.#again(unit, WeftError.from(thrown));
      }
      if (this.#isClosed) break;
    }
    await reader?.close().catch(() => undefined);
  }

  #put(index: number, result: ShardResult, task: ShardTask): void {
    if ('part' in result) this.#onFinished(task);
    const awaited = this.#awaited.get(index);
    this.#awaited.delete(index);
    if (awaited === undefined) this.#results.set(index, result);
    else awaited.resolve(result);
  }

  /** The shards of a lost reader, each on its own, so that one that kills its reader is found. */
  #again({ first, tasks, attempt }: Unit, lost: WeftError): void {
    if (tasks.length === 1 && attempt >= MOST_ATTEMPTS) {
      const [task] = tasks;
      const message = `${this.#describe(task!)} cannot be indexed: ${lost.message}`;
      this.#put(first, { error: { code: lost.code, message, hint: lost.hint } }, task!);
      return;
    }
    this.#units.unshift(...tasks.map((task, i) => ({ first: first + i, tasks: [task], attempt: attempt + 1 })));
  }
}

/** @param tasks undefined for a shard that need not be read */
function unitsOf(tasks: readonly (ShardTask | undefined)[], readers: number): Unit[] {
  const units: Unit[] = [];
  const missing = tasks.reduce((sum, task) => sum + (task?.bytes ?? 0), 0);
  // Of few bytes every reader gets some.
  const largest = Math.min(LARGEST_UNIT_BYTES, missing / (4 * readers));
  let open: { first: number; tasks: ShardTask[]; bytes: number } | undefined;
  const close = () => {
    if (open !== undefined) units.push({ first: open.first, tasks: open.tasks, attempt: 1 });
    open = undefined;
  };
  for (const [index, task] of tasks.entries()) {
    if (task === undefined) {
      close();
      continue;
    }
    open ??= { first: index, tasks: [], bytes: 0 };
    open.tasks.push(task);
    open.bytes += task.bytes;
    if (open.bytes >= largest || open.tasks.length === MOST_SHARDS_OF_UNIT) close();
  }
  close();
  return units;
}
