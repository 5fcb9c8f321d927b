import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { systemClock, WeftError } from '@weft/common';
import { isMissing, readBefore } from '@weft/files';
import { toJson } from './as-json.js';
import type { LogEntry, LogMark } from './event-log.js';

/** The sound part of a log file. */
export interface SoundPart {
  /** Bytes up to the end of the last whole append. */
  readonly bytes: number;
  readonly lastSequence: number;
  /** Bytes after it: an append that a crash left incomplete. */
  readonly tornBytes: number;
}

/**
 * Reads a log file from a place at which it is sound to its end, and finds how much of it is sound.
 *
 * @throws WeftError `corrupt_data` with file and line when a line before the end is damaged: a crash does not do that.
 */
export async function scanLog(path: string, from: Pick<LogMark, 'bytes' | 'sequence'> | undefined): Promise<SoundPart> {
  const { bytes, sequence } = from ?? { bytes: 0, sequence: 0 };
  let sound = { bytes, lastSequence: sequence };
  let end = bytes;
  for await (const line of logLines(path, bytes, sequence + 1)) {
    end = line.end;
    if (!line.torn && line.sequence === line.last) sound = { bytes: line.end, lastSequence: line.sequence };
  }
  return { ...sound, tornBytes: end - sound.bytes };
}

/** How much before a mark is compared. */
const TAIL_BYTES = 128;

/** `LogReader.readOn` of a file. */
export async function readLogFileOn(
  path: string,
  mark: LogMark | undefined,
  take: (record: unknown) => void,
): Promise<LogMark | undefined> {
  if (mark !== undefined && (await readBefore(path, mark.bytes, TAIL_BYTES)) !== mark.tail) return undefined;
  let { bytes, sequence } = mark ?? { bytes: 0, sequence: 0 };
  for await (const entry of readLogFileFrom(path, bytes, sequence + 1)) {
    take(entry.record);
    bytes = entry.end;
    sequence = entry.sequence;
  }
  return { bytes, sequence, tail: await readBefore(path, bytes, TAIL_BYTES) };
}

/**
 * The records of a log file that another process may be writing, without an append that is incomplete.
 *
 * @throws WeftError `corrupt_data` as `scanLog`, `not_found` when there is no such file.
 */
export async function* readLogFile(path: string): AsyncGenerator<LogEntry> {
  for await (const { sequence, record } of readLogFileFrom(path, 0, 1)) yield { sequence, record };
}

/**
 * As `readLogFile`, from the byte at which the line of sequence `first` begins; earlier lines are not read. Each entry has
 * the offset of the next one.
 */
async function* readLogFileFrom(
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

/** A line of the log, or the incomplete last line after a crash. */
type ScannedLine = { readonly end: number } & (({ readonly torn: false } & LogLine) | { readonly torn: true });

/** The lines from a byte offset on, at which the line of sequence `expected` begins. */
async function* logLines(path: string, offset = 0, first = 1): AsyncGenerator<ScannedLine> {
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
    if (isMissing(cause)) {
      throw new WeftError('not_found', `there is no event log ${path}`, { cause });
    }
    throw WeftError.from(cause);
  }
}

/** A log has one record per line, so the number of a line must be its sequence. */
function damaged(path: string, line: number, reason: string): WeftError {
  return new WeftError('corrupt_data', `the event log ${path} is damaged at line ${line}: ${reason}`, {
    hint: 'restore the file from a copy; what stands before that line is intact',
  });
}

const POLL_MS = 100;

/**
 * The records of a log file from `fromSequence` on, and later ones as another process appends them, until `signal` aborts.
 * Waits for a file that does not exist yet. Reads the file ten times a second, because file systems shared between
 * machines report no changes. Records after `lastSequence` wait: their writer does not know yet that they are on disk.
 */
export async function* followLogFile(
  path: string,
  fromSequence: number,
  signal: AbortSignal,
  lastSequence = () => Number.POSITIVE_INFINITY,
): AsyncGenerator<LogEntry> {
  let offset = 0;
  let next = 1;
  while (!signal.aborted) {
    if ((await sizeOf(path)) > offset) {
      let append: LogEntry[] = [];
      for await (const line of logLines(path, offset, next)) {
        if (line.torn || line.last > lastSequence()) break;
        append.push({ sequence: line.sequence, record: line.record });
        if (line.sequence !== line.last) continue;
        offset = line.end;
        next = line.sequence + 1;
        for (const entry of append) {
          if (entry.sequence >= fromSequence) yield entry;
          if (signal.aborted) return;
        }
        append = [];
      }
    }
    await systemClock.sleep(POLL_MS, signal).catch(() => {});
  }
}

const sizeOf = (path: string) =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

/** One line of a file: its text without the line feed, where it starts, and where the next one starts. */
export interface FileLine {
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** False for a last line that lacks its line feed. */
  readonly whole: boolean;
}

const LINE_FEED = 0x0a;

/** The lines of a file from a byte offset on, at which a line begins; in constant memory. */
async function* readLines(path: string, offset = 0): AsyncGenerator<FileLine> {
  let start = offset;
  let pending: Buffer[] = [];
  const stream = createReadStream(path, { start: offset });
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
      const line = Buffer.concat([...pending, chunk.subarray(from, at)]);
      pending = [];
      from = at + 1;
      yield { text: line.toString(), start, end: start + line.length + 1, whole: true };
      start += line.length + 1;
    }
    if (from < chunk.length) pending.push(chunk.subarray(from));
  }
  const rest = Buffer.concat(pending);
  if (rest.length > 0) yield { text: rest.toString(), start, end: start + rest.length, whole: false };
}

/**
 * One record is one line of JSON, `{"sequence":7,"last":8,"crc32":"90fd4181","record":…}`.
 * `last` is the sequence of the last record of the same append, by which an incomplete append is recognised. `crc32` is over
 * the text of the record.
 */
export interface LogLine extends LogEntry {
  readonly last: number;
}

const LINE = /^\{"sequence":(\d{1,15}),"last":(\d{1,15}),"crc32":"([0-9a-f]{8})","record":(.*)\}$/s;

/** The lines of one append, each with its line feed. Throws a TypeError for values that are not JSON. */
export function formatLines(firstSequence: number, records: readonly unknown[]): string {
  const last = firstSequence + records.length - 1;
  const lines = records.map((record, index) => {
    const text = toJson(record);
    return `{"sequence":${firstSequence + index},"last":${last},"crc32":"${checksum(text)}","record":${text}}\n`;
  });
  return lines.join('');
}

/** Reads a line without its line feed. Returns a string, the reason, when the line is damaged. */
function parseLine(line: string, expectedSequence: number): LogLine | string {
  const [, sequenceText, lastText, crc, text] = LINE.exec(line) ?? [];
  if (text === undefined) return 'not a line of an event log';
  const sequence = Number(sequenceText);
  if (sequence !== expectedSequence) return `sequence ${sequence} where ${expectedSequence} belongs`;
  if (checksum(text) !== crc) return 'its checksum does not match';
  const record: unknown = JSON.parse(text);
  return { sequence, last: Number(lastText), record };
}

const checksum = (text: string) => crc32(text).toString(16).padStart(8, '0');
