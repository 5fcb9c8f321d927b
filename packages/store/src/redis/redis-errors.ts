import { WeftError } from '@weft/common';
import { refusalOf } from './redis-refusals.js';

/** What scripts answer when the lease has passed to another. */
export const FENCED = 'WEFT_FENCED';

const CONNECTION_LOST =
  /connection is closed|stream isn't writeable|socket timeout|socket closed|socket disconnected|cluster isn't ready|refresh slots cache|startup nodes|sentinels are unreachable|timed out|max retries per request|aborted due to connection|connect |getaddrinfo |^(read|write) E|ECONN|EPIPE/i;
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

/** ioredis' own remarks about its next attempt, and what the last sentinel said. */
const SENTINELS_FAILED = /^All sentinels are unreachable.* Last error: (.*)$/;

/** An error of many attempts keeps the telling part in its last one. */
function messageOf(error: Error): string {
  if ('lastNodeError' in error && error.lastNodeError instanceof Error) return error.lastNodeError.message;
  if (error instanceof AggregateError)
    return error.errors.map((one) => (one instanceof Error ? one.message : '')).join(', ');
  return SENTINELS_FAILED.exec(error.message)?.[1] ?? error.message;
}

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
  const refusal = refusalOf(text);
  if (refusal !== undefined) {
    const { code, says, cure } = refusal;
    return new WeftError(code, `Redis at ${place} ${says}`, { cure, cause });
  }
  if (isAway(thrown))
    return new WeftError('unavailable', `Redis at ${place} cannot be reached: ${text.replace(/\.$/, '')}`, {
      cure: 'start it, or correct its URL (rediss:// with TLS, redis:// without)',
      cause,
    });
  return new WeftError('internal', `Redis at ${place} answered: ${text}`, { cause });
}

export const leaseLost = (holder?: string) =>
  new WeftError('failed_precondition', `the lease has passed to ${holder ?? 'another'}`, {
    cure: 'start the process again; it will wait until it is needed',
  });
