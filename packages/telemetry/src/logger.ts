import { hostname } from 'node:os';
import { WEFT_VERSION, WeftError } from '@weft/common';
import { type DestinationStream, destination, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino';

/** Writes one line of JSON per event; `child({ runId, rank })` adds fields to every line. */
export type Logger = PinoLogger;

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  /** What this process is: coordinator, worker, cli … */
  readonly role: string;
  readonly runId?: string;
  readonly rank?: number;
  /** Default info. */
  readonly level?: LogLevel;
  /** A file to append to, made with its folder; default is stderr. */
  readonly file?: string;
  /** Where lines go instead, for tests. */
  readonly stream?: DestinationStream;
}

/**
 * A logger of JSON lines: `time` (ISO 8601), `level`, `role`, `processId`, `hostName`, `version`, then the fields of the
 * event and `message`. Secrets are left out by name (token, password, …) and from addresses. An error logged as
 * `{ error }` shows its code, message, hint, causes and stack. Lines are written at once: a crash loses none.
 */
export function createLogger({ role, runId, rank, level = 'info', file, stream }: LoggerOptions): Logger {
  const base = {
    role,
    ...(runId === undefined ? {} : { runId }),
    ...(rank === undefined ? {} : { rank }),
    processId: process.pid,
    hostName: hostname(),
    version: WEFT_VERSION,
  };
  return pino(
    {
      level,
      base,
      messageKey: 'message',
      errorKey: 'error',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
      hooks: { streamWrite: redactLine },
    },
    stream ?? destination({ dest: file ?? 2, sync: true, mkdir: true, append: true }),
  );
}

/** What a log line tells of an error. */
function describeError(thrown: unknown): Record<string, unknown> {
  const { code, message, hint } = WeftError.from(thrown);
  const { cause, stack } = thrown instanceof Error ? thrown : {};
  return {
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { causes: causesOf(cause) }),
    ...(stack === undefined ? {} : { stack }),
  };
}

function causesOf(cause: unknown): string[] {
  const messages: string[] = [];
  for (let at: unknown = cause; at !== undefined && messages.length < 10; ) {
    messages.push(WeftError.from(at).message);
    at = at instanceof Error ? at.cause : undefined;
  }
  return messages;
}

const REDACTED = '[redacted]';

/** A JSON field whose name says that it holds a secret: `token`, `ringToken`, `password` … but not `lossTokens`. */
const SECRET_FIELD =
  /"(\w*(?:token|password|passphrase|secret|authorization|credentials?|privateKey|apiKey))":"(?:[^"\\]|\\.)*"/gi;
/** The password in an address such as redis://user:password@host. */
const ADDRESS_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@"'\\]*:)[^\s/@"'\\]+@/gi;

/** A text without the passwords of the addresses in it. */
function redactText(text: string): string {
  return text.replace(ADDRESS_PASSWORD, `$1${REDACTED}@`);
}

/** A line of JSON without its secrets: text fields with a secret's name, at any depth, and passwords in addresses. */
function redactLine(line: string): string {
  return redactText(line.replace(SECRET_FIELD, `"$1":"${REDACTED}"`));
}
