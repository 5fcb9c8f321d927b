import { open, readdir, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { isJsonObject, type JsonObject } from '@weft/common';
import { type Home, isMissing } from '@weft/files';

/** How bad a line is, from the mildest; `none` for what no logger wrote and what does not say so itself. */
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number] | 'none';

/** A line of a log. */
export interface LogLine {
  /** ISO 8601; empty for what no logger wrote. */
  readonly time: string;
  readonly level: LogLevel;
  readonly message: string;
  /** The other fields, without those that are the same in every line of a process. */
  readonly fields: JsonObject;
}

/** Reads a line: the JSON of our logger, or the text of a library, an exception or a command. */
export function parseLogLine(text: string): LogLine {
  const value = parseObject(text);
  if (value === undefined) return { time: '', level: levelOfText(text), message: text, fields: {} };
  const { time, level, message, processId: _, hostName: __, version: ___, role: ____, ...fields } = value;
  return {
    time: typeof time === 'string' ? time : '',
    level: LOG_LEVELS.find((each) => each === level) ?? 'none',
    message: typeof message === 'string' ? message : '',
    fields,
  };
}

/** What XLA and TensorFlow write begins with the level and the date; a command that fails begins with `error:`. */
function levelOfText(text: string): LogLevel {
  const letter = /^([IWEF])\d{4} /.exec(text)?.[1];
  if (letter !== undefined) return ({ I: 'info', W: 'warn', E: 'error', F: 'fatal' } as const)[letter as 'I'];
  return /^(?:Uncaught )?(?:error|\w*Error(?: \[\w+\])?): /.test(text) ? 'error' : 'none';
}

function parseObject(text: string): JsonObject | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The logs of the processes that were started for a home, relative to its folder of logs: the newest launch first. */
export async function processLogFiles({ logsDirectory }: Home): Promise<string[]> {
  try {
    const entries = await readdir(logsDirectory, { recursive: true, withFileTypes: true });
    const paths = entries
      .filter((entry) => entry.isFile() && entry.name.endsWith('.log'))
      .map((entry) => relative(logsDirectory, join(entry.parentPath, entry.name)).split(sep).join('/'));
    const folderOf = (path: string) => path.slice(0, path.lastIndexOf('/') + 1);
    // The names of folders begin with the time of their launch.
    return paths.sort((a, b) => (folderOf(a) === folderOf(b) ? (a < b ? -1 : 1) : folderOf(a) < folderOf(b) ? 1 : -1));
  } catch (thrown) {
    if (isMissing(thrown)) return [];
    throw thrown;
  }
}

/** A line about a run, and which process wrote it. */
export interface RunLogLine extends LogLine {
  /** `coordinator`, `worker-0`, `expert-worker-1`: the name of its file. */
  readonly process: string;
  /** Of a worker in the run; undefined before it has joined a ring. Expert workers are counted for themselves. */
  readonly rank: number | undefined;
  /** As it was written. */
  readonly text: string;
}

/** Which lines of a run are read. */
export interface RunLogsOptions {
  readonly runId: string;
  /** Files that were last written before are passed over, milliseconds since the Unix epoch; default: none are. */
  readonly sinceMs?: number;
  /** Of longer files only so much of the end is read at first; default: all. */
  readonly tailBytes?: number;
}

/**
 * What the processes of a home wrote about one run, from the logs that the local launcher keeps. A worker's lines belong to the
 * run that it named last. Every `read` goes on where the one before ended.
 */
export class RunLogs {
  readonly #home: Home;
  readonly #options: RunLogsOptions;
  readonly #files = new Map<string, RunLogFile>();

  constructor(home: Home, options: RunLogsOptions) {
    this.#home = home;
    this.#options = options;
  }

  /** The workers whose log is here, whether they took part in the run or not. */
  get workerIds(): ReadonlySet<string> {
    return new Set([...this.#files.values()].flatMap(({ workerId }) => workerId ?? []));
  }

  /** The lines that were written since the last call, of all processes in the order of their times. */
  async *read(): AsyncGenerator<RunLogLine, void, undefined> {
    for (const file of await processLogFiles(this.#home))
      if (!this.#files.has(file)) {
        const path = join(this.#home.logsDirectory, file);
        this.#files.set(file, new RunLogFile(path, this.#options));
      }
    const open = [...this.#files.values()].map((file) => file.read());
    const heads = await Promise.all(open.map((lines) => lines.next()));
    for (;;) {
      let first = -1;
      for (const [at, head] of heads.entries()) {
        if (head.done) continue;
        const best = heads[first];
        if (best === undefined || best.done || head.value.at < best.value.at) first = at;
      }
      const head = heads[first];
      if (head === undefined || head.done) return;
      yield head.value.line;
      heads[first] = await open[first]!.next();
    }
  }
}

const CHUNK_BYTES = 256 * 1024;
const LINE_FEED = 0x0a;

/** The log of one process, of which lines about one run are read. */
class RunLogFile {
  workerId: string | undefined;
  readonly #path: string;
  readonly #process: string;
  readonly #options: RunLogsOptions;
  #offset = 0;
  #isNew = true;
  /** Of the last line that had a time: lines of libraries have none. */
  #time = '';
  /** The run that the process works for, by its last line that named one. */
  #runId: string | undefined;
  #rank: number | undefined;

  constructor(path: string, options: RunLogsOptions) {
    this.#path = path;
    this.#process = basename(path, '.log');
    this.#options = options;
  }

  /** The lines since the last call, each with a time to sort by. */
  async *read(): AsyncGenerator<{ readonly at: string; readonly line: RunLogLine }, void, undefined> {
    for await (const text of this.#lines()) {
      const line = parseLogLine(text);
      if (line.time !== '') this.#time = line.time;
      const { fields } = line;
      if (typeof fields.workerId === 'string' && this.#process !== 'coordinator') this.workerId ??= fields.workerId;
      const isOfRun = this.#follow(fields);
      if (isOfRun) yield { at: this.#time, line: { ...line, process: this.#process, rank: this.#rank, text } };
      if (fields.discardState === true) this.#runId = undefined;
    }
  }

  /** Notes what a line tells of the work of its process. @returns whether the line is about the run */
  #follow({ runId, rank }: JsonObject): boolean {
    // A coordinator works for many runs: what names none is about all.
    if (this.#process === 'coordinator') return runId === this.#options.runId;
    if (typeof runId === 'string' && runId !== this.#runId) {
      this.#runId = runId;
      this.#rank = undefined;
    }
    if (typeof rank === 'number') this.#rank = rank;
    return this.#runId === this.#options.runId;
  }

  async *#lines(): AsyncGenerator<string, void, undefined> {
    const { sinceMs = 0, tailBytes = Number.POSITIVE_INFINITY } = this.#options;
    const status = await stat(this.#path).catch((thrown: unknown) => {
      if (isMissing(thrown)) return undefined;
      throw thrown;
    });
    if (status === undefined || status.mtimeMs < sinceMs) return;
    // It was written anew.
    if (status.size < this.#offset) this.#offset = 0;
    if (status.size === this.#offset) return;
    let isTorn = false;
    if (this.#isNew && status.size > tailBytes) {
      this.#offset = status.size - tailBytes;
      isTorn = true;
    }
    this.#isNew = false;
    const file = await open(this.#path);
    try {
      for (let size = CHUNK_BYTES; ; ) {
        const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(size), 0, size, this.#offset);
        const chunk = buffer.subarray(0, bytesRead);
        const start = this.#offset;
        let from = 0;
        for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
          const text = chunk.toString('utf8', from, at);
          from = at + 1;
          this.#offset = start + from;
          if (!isTorn && text.trim() !== '') yield text;
          isTorn = false;
        }
        if (bytesRead < size) return;
        // A line that is longer than what was read.
        size = from === 0 ? size * 2 : CHUNK_BYTES;
      }
    } finally {
      await file.close();
    }
  }
}
