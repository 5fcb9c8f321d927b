import { type ErrorCode, WeftError } from '@weft/common';

/** Begins the answer of scripts under a lease that is not the current one; the current token and that of the caller follow. */
const FENCED = 'WEFT_FENCED';

/** Lua that answers so. @param token a Lua expression, as is `current`, which may be false */
export const fencedReply = (current: string, token: string) =>
  `redis.error_reply('${FENCED} ' .. (${current} or 'none') .. ' ' .. ${token})`;

const CONNECTION_LOST =
  /connection is closed|stream isn't writeable|socket timeout|socket closed|socket disconnected|cluster isn't ready|refresh slots cache|startup nodes|sentinels are unreachable|timed out|max retries per request|aborted due to connection|connect |getaddrinfo |^(read|write) E|ECONN|EPIPE/i;
const RETRY_LATER = /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|UNBLOCKED|FAILOVER)\b/;

/** Whether Redis cannot be reached or cannot answer now, so that the same call may succeed later. */
export function isTransient(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || thrown instanceof WeftError) return false;
  return (
    RETRY_LATER.test(thrown.message) ||
    (!isReply(thrown) && CONNECTION_LOST.test(`${thrown.name} ${messageOf(thrown)}`))
  );
}

/** The tokens in the answer of a fenced script; undefined for any other error. */
function fencedTokens(thrown: unknown): { current: string | undefined; token: string } | undefined {
  const text = thrown instanceof Error ? thrown.message : '';
  const [, current, token = ''] = new RegExp(`${FENCED} (\\S+) (\\S+)`).exec(text) ?? [];
  if (current === undefined) return undefined;
  return { current: current === 'none' ? undefined : current, token };
}

const isReply = (error: Error) => error.name === 'ReplyError';

/** What ioredis appends about its next attempt, and the last sentinel's error. */
const SENTINELS_FAILED = /^All sentinels are unreachable.* Last error: (.*)$/;

/** An error of many attempts has its cause in the last one. */
function messageOf(error: Error): string {
  if ('lastNodeError' in error && error.lastNodeError instanceof Error) return error.lastNodeError.message;
  if (error instanceof AggregateError)
    return error.errors.map((one) => (one instanceof Error ? one.message : '')).join(', ');
  return SENTINELS_FAILED.exec(error.message)?.[1] ?? error.message;
}

/**
 * The error of a Redis call, for people. Only the text of the original error is kept: the error itself may hold the
 * arguments of the command, and among them a password.
 *
 * @param place the server, for messages
 */
export function redisError(thrown: unknown, place: string): WeftError {
  if (thrown instanceof WeftError) return thrown;
  const text = thrown instanceof Error ? messageOf(thrown) || thrown.name : String(thrown);
  const cause = new Error(text);
  const fenced = fencedTokens(thrown);
  if (fenced !== undefined) return leaseLost(place, fenced);
  const refusal = findRefusal(text);
  if (refusal !== undefined) {
    const { code, says, hint } = refusal;
    return new WeftError(code, `Redis at ${place} ${says}`, { hint, cause });
  }
  if (isTransient(thrown))
    return new WeftError('unavailable', `Redis at ${place} cannot be reached: ${text.replace(/\.$/, '')}`, {
      hint: 'start it, or correct its URL (rediss:// with TLS, redis:// without)',
      cause,
    });
  return new WeftError('internal', `Redis at ${place} answered: ${text}`, { cause });
}

interface LostLease {
  /** Undefined: Redis has none. */
  readonly current: string | undefined;
  readonly token: string;
  /** Of the current lease, where it is known. */
  readonly holder?: string | undefined;
}

/**
 * The error of a write under a lease that is not the current one: another process has it now. Tokens only grow, so where
 * Redis has an older one, or none, it came back without a part of what it had stored.
 */
export function leaseLost(place: string, { current, token, holder }: LostLease): WeftError {
  if (current === undefined || Number(current) < Number(token)) return forgotten(place);
  return new WeftError('failed_precondition', `the lease has passed to ${holder ?? 'another'}`, {
    hint: 'start the process again; it will wait until it is needed',
  });
}

/** The error where Redis came back without what it had stored. @param what default: what was stored */
export const forgotten = (place: string, what = 'what was stored') =>
  new WeftError('corrupt_data', `Redis at ${place} has lost ${what}`, {
    hint: 'restore its files, set `appendonly yes` in redis.conf, and start again',
  });

/** Answers of Redis that do not change by themselves: what each means, and its hint. */
export interface Refusal {
  readonly code: ErrorCode;
  /** Follows "Redis at …". */
  readonly says: string;
  readonly hint: string;
}

type Row = readonly [answer: RegExp, code: ErrorCode, hint: string, says?: string];

const REFUSED = 'failed_precondition';
const LOGIN = 'correct user and password in its URL';

/** Where the last column is empty, the message is Redis' own. */
const ERROR_TABLE: readonly Row[] = [
  [/^NOAUTH/, REFUSED, LOGIN, 'wants a password'],
  [/^WRONGPASS/, REFUSED, LOGIN, 'does not accept this user and password'],
  [/without any password/, REFUSED, 'leave the password out of its URL', 'wants no password'],
  [/^NOPERM/, REFUSED, 'give the user the right to all commands on the keys of Weft'],
  [/^OOM/, 'unavailable', 'raise its maxmemory', 'is full'],
  [/^MISCONF|No space left/, 'unavailable', 'see to its disk', 'cannot write to its disk'],
  [/DB index is out of range/, REFUSED, 'name a smaller one, or use --redis-prefix', 'has no database of this number'],
  [/^MOVED|in cluster mode/, REFUSED, 'write redis+cluster:// in front', 'is a node of a cluster'],
  [/cluster support disabled/, REFUSED, 'write redis:// in front', 'is no node of a cluster'],
  [/No such master/, REFUSED, 'write the name that the sentinels have for the master', 'is not known to them'],
  [/unknown command .?sentinel/i, REFUSED, 'write redis:// in front, or name the sentinels', 'asked one that is none'],
  [/RESP type|Protocol error/i, REFUSED, 'correct its URL', 'cannot be used: what listens there does not speak Redis'],
  [/certificate|altname|SSL routines|EPROTO/, REFUSED, 'name the certificate authority in its URL (?ca=…)'],
];

/** Undefined when the error is no refusal. @param text of the error */
function findRefusal(text: string): Refusal | undefined {
  const row = ERROR_TABLE.find(([answer]) => answer.test(text));
  if (row === undefined) return undefined;
  const [, code, hint, says = `refuses: ${text.replace(/\.$/, '')}`] = row;
  return { code, says, hint };
}
