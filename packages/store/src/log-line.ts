import { crc32 } from 'node:zlib';
import { toJson } from './as-json.js';
import type { LogEntry } from './event-log.js';

/**
 * One record is one line of JSON, `{"sequence":7,"last":8,"crc32":"90fd4181","record":…}`.
 * `last` is the sequence of the last record of the same append, so that an append that was torn apart can be told;
 * `crc32` is over the text of the record, so that a changed byte can be told.
 */
export interface LogLine extends LogEntry {
  readonly last: number;
}

const LINE = /^\{"sequence":(\d{1,15}),"last":(\d{1,15}),"crc32":"([0-9a-f]{8})","record":(.*)\}$/s;

/** The lines of one append, each with its line feed. Throws a TypeError for what JSON cannot say. */
export function formatLines(firstSequence: number, records: readonly unknown[]): string {
  const last = firstSequence + records.length - 1;
  const lines = records.map((record, index) => {
    const text = toJson(record);
    return `{"sequence":${firstSequence + index},"last":${last},"crc32":"${checksum(text)}","record":${text}}\n`;
  });
  return lines.join('');
}

/** Reads a line without its line feed; a string says what is wrong with it. */
export function parseLine(line: string, expectedSequence: number): LogLine | string {
  const [, sequenceText, lastText, crc, text] = LINE.exec(line) ?? [];
  if (text === undefined) return 'not a line of an event log';
  const sequence = Number(sequenceText);
  if (sequence !== expectedSequence) return `sequence ${sequence} where ${expectedSequence} belongs`;
  if (checksum(text) !== crc) return 'its checksum does not match';
  const record: unknown = JSON.parse(text);
  return { sequence, last: Number(lastText), record };
}

const checksum = (text: string) => crc32(text).toString(16).padStart(8, '0');
