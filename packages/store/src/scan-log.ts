import { WeftError } from '@weft/common';
import type { LogEntry } from './event-log.js';
import { type LogLine, parseLine } from './log-line.js';
import { readLines } from './read-lines.js';

/** The sound part of a log file. */
export interface SoundPart {
  /** Bytes up to the end of the last whole append. */
  readonly bytes: number;
  readonly lastSequence: number;
  /** Bytes after it: an append that a crash tore apart. */
  readonly tornBytes: number;
}

/**
 * Reads a log file to its end and says how much of it is sound.
 *
 * @throws WeftError `corrupt_data` with file and line when a line before the end is damaged: that is not what a crash
 * leaves behind.
 */
export async function scanLog(path: string): Promise<SoundPart> {
  let sound = { bytes: 0, lastSequence: 0 };
  let end = 0;
  for await (const line of logLines(path)) {
    end = line.end;
    if (!line.torn && line.sequence === line.last) sound = { bytes: line.end, lastSequence: line.sequence };
  }
  return { ...sound, tornBytes: end - sound.bytes };
}

/**
 * The records of a log file that another process may be writing; an append that is not yet whole is left out.
 *
 * @throws WeftError `corrupt_data` as `scanLog`, `not_found` when there is no such file.
 */
export async function* readLogFile(path: string): AsyncGenerator<LogEntry> {
  for await (const { sequence, record } of readLogFileFrom(path, 0, 1)) yield { sequence, record };
}

/**
 * As `readLogFile`, from the byte on where the line of sequence `first` begins; what stands before it is not looked at.
 * Each entry says where the next one begins.
 */
export async function* readLogFileFrom(
  path: string,
  offset: number,
  first: number,
): AsyncGenerator<LogEntry & { readonly end: number }> {
  let append: (LogEntry & { readonly end: number })[] = [];
  for await (const line of logLines(path, offset, first)) {
    if (line.torn) return;
    append.push({ sequence: line.sequence, record: line.record, end: line.end });
    if (line.sequence !== line.last) continue;
    yield* append;
    append = [];
  }
}

/** A line of the log, or what a crash left of the last one. */
type ScannedLine = { readonly end: number } & (({ readonly torn: false } & LogLine) | { readonly torn: true });

/** The lines from a byte offset on, where the line of sequence `expected` begins. */
export async function* logLines(path: string, offset = 0, first = 1): AsyncGenerator<ScannedLine> {
  let expected = first;
  try {
    for await (const { text, end, whole } of readLines(path, offset)) {
      if (!whole) {
        yield { torn: true, end };
        return;
      }
      const line = parseLine(text, expected);
      if (typeof line === 'string') throw damaged(path, expected, line);
      expected++;
      yield { ...line, torn: false, end };
    }
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new WeftError('not_found', `there is no event log ${path}`, { cause });
    }
    throw WeftError.from(cause);
  }
}

/** A log has one record per line, so the number of the line is the sequence that belongs there. */
function damaged(path: string, line: number, reason: string): WeftError {
  return new WeftError('corrupt_data', `the event log ${path} is damaged at line ${line}: ${reason}`, {
    cure: 'restore the file from a copy; what stands before that line is intact',
  });
}
