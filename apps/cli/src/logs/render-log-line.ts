import type { LogLevel, RunLogLine } from '@weft/client';
import { type Line, type Style, span } from '../styled-lines.js';

/** The levels that a person may ask for. */
export type LeastLevel = 'debug' | 'info' | 'warn' | 'error';

/** What has no level counts as information. */
const ORDER: Readonly<Record<LogLevel, number>> = { trace: 0, debug: 0, info: 1, none: 1, warn: 2, error: 3, fatal: 3 };

/** Whether a line is as bad as asked for, or worse. */
export const isAtLeast = (level: LogLevel, least: LeastLevel): boolean => ORDER[level] >= ORDER[least];

const STYLES: Partial<Readonly<Record<LogLevel, Style>>> = {
  trace: 'dim',
  debug: 'dim',
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
};

/** Fields that the head of the line has already, and the stack, which `--json` shows. */
const LEFT_OUT = ['runId', 'rank', 'workerId'];

/** A line of a log for a person. @param isShort the time of day alone, where a person looks on; else date and time in UTC */
export function renderLogLine(line: RunLogLine, isShort: boolean): Line {
  const { level, process, rank, message } = line;
  const who = process.startsWith('worker') && rank !== undefined ? `rank ${rank}` : process;
  const style = STYLES[level];
  return [
    span(`${isShort ? timeOfDay(line.time) : line.time.padEnd(24)} `, 'dim'),
    span(`${(level === 'none' ? '' : level).padEnd(5)} `, style),
    span(`${who.padEnd(WHO_WIDTH)} `, 'cyan'),
    span(message, style === 'dim' ? undefined : style),
    span(detailsOf(line), 'dim'),
  ];
}

const WHO_WIDTH = 'coordinator'.length;

function timeOfDay(time: string): string {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return ' '.repeat('00:00:00.000'.length);
  return `${at.toLocaleTimeString('en-GB')}.${at.getMilliseconds().toString().padStart(3, '0')}`;
}

function detailsOf({ fields }: RunLogLine): string {
  const parts = Object.entries(fields).flatMap(([name, value]) => {
    if (LEFT_OUT.includes(name) || value === undefined || value === null) return [];
    return `${name}=${name === 'error' ? errorText(value) : textOf(value)}`;
  });
  return parts.length === 0 ? '' : `  ${parts.join(' ')}`;
}

const textOf = (value: unknown) => (typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value));

/** An error without its stack. */
function errorText(error: unknown): string {
  if (typeof error !== 'object' || error === null) return textOf(error);
  const { code, message, hint }: { code?: unknown; message?: unknown; hint?: unknown } = { ...error };
  return textOf([code, message, hint].filter((each) => typeof each === 'string').join(': '));
}
