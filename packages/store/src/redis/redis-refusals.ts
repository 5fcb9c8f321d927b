import type { ErrorCode } from '@weft/common';

/** What an answer of Redis that will not change by itself means, and what a person does about it. */
export interface Refusal {
  readonly code: ErrorCode;
  /** Follows "Redis at …". */
  readonly says: string;
  readonly cure: string;
}

type Row = readonly [answer: RegExp, code: ErrorCode, cure: string, says?: string];

const REFUSED = 'failed_precondition';
const LOGIN = 'correct user and password in its URL';

/** In Redis' own words where the last column has no better ones. */
const ROWS: readonly Row[] = [
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

/** @param text of the error; undefined: it is no refusal. */
export function refusalOf(text: string): Refusal | undefined {
  const row = ROWS.find(([answer]) => answer.test(text));
  if (row === undefined) return undefined;
  const [, code, cure, says = `refuses: ${text.replace(/\.$/, '')}`] = row;
  return { code, says, cure };
}
