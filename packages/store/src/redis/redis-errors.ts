import { WeftError } from '@weft/common';

/** What scripts answer when the lease has passed to another. */
export const FENCED = 'WEFT_FENCED';

const CONNECTION_LOST =
  /connection is closed|stream isn't writeable|socket timeout|socket closed|cluster isn't ready|refresh slots cache|startup nodes|sentinels are unreachable|timed out|max retries per request|aborted due to connection|connect |getaddrinfo |^(read|write) E|ECONN|EPIPE/i;
const NOT_NOW = /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|UNBLOCKED|FAILOVER)\b/;

/** Whether Redis cannot be reached, or says that it cannot answer now: the same call may be made again later. */
export function isAway(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || thrown instanceof WeftError) return false;
  return (
    NOT_NOW.test(thrown.message) || (!isReply(thrown) && CONNECTION_LOST.test(`${thrown.name} ${messageOf(thrown)}`))
  );
}

export const isFenced = (thrown: unknown): boolean => thrown instanceof Error && thrown.message.includes(FENCED);

const isReply = (error: Error) => error.name === 'ReplyError';

/** An error of many attempts keeps the telling part in its last one. */
function messageOf(error: Error): string {
  if ('lastNodeError' in error && error.lastNodeError instanceof Error) return error.lastNodeError.message;
  if (error instanceof AggregateError)
    return error.errors.map((one) => (one instanceof Error ? one.message : '')).join(', ');
  return error.message;
}

const CURES: readonly [RegExp, ConstructorParameters<typeof WeftError>[0], string][] = [
  [/^(NOAUTH|WRONGPASS)|without any password/, 'failed_precondition', 'correct user and password in its URL'],
  [/^NOPERM/, 'failed_precondition', 'give the user the right to all commands on the keys of Weft'],
  [/^OOM/, 'unavailable', 'raise its maxmemory'],
  [/^MISCONF|No space left/, 'unavailable', 'see to its disk'],
  [
    /certificate|self.signed|altname|SSL|TLS/i,
    'failed_precondition',
    'name the certificate authority in its URL (?ca=…)',
  ],
];

/**
 * What a call of Redis threw, as an error for people. The error below is left behind but for its text: it may carry the
 * arguments of the command, and among those a password.
 *
 * @param place the server, for people.
 */
export function redisError(thrown: unknown, place: string): WeftError {
  if (thrown instanceof WeftError) return thrown;
  const text = thrown instanceof Error ? messageOf(thrown) || thrown.name : String(thrown);
  const cause = new Error(text);
  if (isFenced(thrown)) return leaseLost();
  for (const [pattern, code, cure] of CURES)
    if (pattern.test(text)) return new WeftError(code, `Redis at ${place} refuses: ${text}`, { cure, cause });
  if (isAway(thrown)) return cannotBeReached(text, place);
  return new WeftError('internal', `Redis at ${place} answered: ${text}`, { cause });
}

export const cannotBeReached = (reason: string, place: string) =>
  new WeftError('unavailable', `Redis at ${place} cannot be reached: ${reason}`, {
    cure: 'start it, or correct its URL',
    cause: new Error(reason),
  });

export const leaseLost = (holder?: string) =>
  new WeftError('failed_precondition', `the lease has passed to ${holder ?? 'another'}`, {
    cure: 'start the process again; it will wait until it is needed',
  });
