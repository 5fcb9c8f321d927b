import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type LogLine, parseLogLine, processLogFiles, RunLogs } from '@weft/client';
import { WeftError } from '@weft/common';
import type { PageLogLine, PageLogs } from '@weft/contracts';
import type { Home } from '@weft/files';

/** How much of the end of a log is read. */
const TAIL_BYTES = 512 * 1024;
const MOST_FILES = 60;

/** Which lines of which log. */
export interface LogQuery {
  /** A name from `files`; undefined: the newest. */
  readonly file: string | undefined;
  readonly lines: number;
}

/** The logs of the processes that were started on this machine, and the last lines of one. */
export async function readLogs(home: Home, { file, lines }: LogQuery): Promise<PageLogs> {
  const files = (await processLogFiles(home)).slice(0, MOST_FILES);
  const chosen = file ?? files[0];
  if (chosen === undefined) return { files, file: null, lines: [] };
  if (!files.includes(chosen)) throw new WeftError('not_found', `there is no log ${JSON.stringify(chosen)}`);
  const text = await tail(join(home.logsDirectory, chosen));
  const last = text.split('\n').filter(Boolean).slice(-lines);
  return { files, file: chosen, lines: last.map((line) => forPage(parseLogLine(line), '', null)) };
}

/** The last lines about one run, of all processes of this machine that work for it. */
export async function readLogsOfRun(home: Home, runId: string, createdAtMs: number, lines: number): Promise<PageLogs> {
  const last: PageLogLine[] = [];
  for await (const line of new RunLogs(home, { runId, sinceMs: createdAtMs, tailBytes: TAIL_BYTES }).read()) {
    last.push(forPage(line, line.process, line.rank ?? null));
    if (last.length > lines) last.shift();
  }
  return { files: [], file: null, lines: last };
}

function forPage({ time, level, message, fields }: LogLine, process: string, rank: number | null): PageLogLine {
  return {
    time,
    level,
    message,
    process,
    rank,
    details: Object.keys(fields).length === 0 ? '' : JSON.stringify(fields),
  };
}

async function tail(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    const text = buffer.toString('utf8', 0, bytesRead);
    // The first line may be incomplete.
    return start === 0 ? text : text.slice(text.indexOf('\n') + 1);
  } finally {
    await file.close();
  }
}
