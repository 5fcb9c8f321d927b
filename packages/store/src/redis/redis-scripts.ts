import { createHash } from 'node:crypto';
import type { IRedisClient, IRedisTransaction } from 'bullmq';
import { fencedReply } from './redis-errors.js';
import type { RedisClient } from './redis-link.js';

/**
 * The Lua that runs inside Redis. A script is atomic, so it checks and writes in one: the lease with a write under it, the
 * expected sequence with the records. Each script may be repeated when its answer was lost.
 */
export interface RedisScript {
  readonly name: string;
  readonly numberOfKeys: number;
  readonly lua: string;
}

/**
 * Takes the lease when it is free, or when its holder is `gone`. Answers the token; or 0 and the holder.
 */
export const ACQUIRE: RedisScript = {
  name: 'weftAcquire',
  numberOfKeys: 2,
  lua: `
local tokenKey, holderKey = KEYS[1], KEYS[2]
local me, gone, leaseMs = ARGV[1], ARGV[2], ARGV[3]
local holder = redis.call('GET', holderKey)
if holder == me then return { tonumber(redis.call('GET', tokenKey)) } end
if holder and holder ~= gone then return { 0, holder } end
redis.call('SET', holderKey, me, 'PX', leaseMs)
return { redis.call('INCR', tokenKey) }
`,
};

/**
 * Renews the lease, also one that has expired if no other process took it. Answers 1; or 0, the current token and the
 * holder, if any.
 */
export const RENEW: RedisScript = {
  name: 'weftRenew',
  numberOfKeys: 2,
  lua: `
local tokenKey, holderKey = KEYS[1], KEYS[2]
local me, token, leaseMs = ARGV[1], ARGV[2], ARGV[3]
local current = redis.call('GET', tokenKey)
if current ~= token then return { 0, current, redis.call('GET', holderKey) } end
redis.call('SET', holderKey, me, 'PX', leaseMs)
return { 1 }
`,
};

/** Gives the lease back. The token grows, so nothing can be written under the old one. */
export const RELEASE: RedisScript = {
  name: 'weftRelease',
  numberOfKeys: 2,
  lua: `
local tokenKey, holderKey = KEYS[1], KEYS[2]
if redis.call('GET', tokenKey) == ARGV[1] then
  redis.call('DEL', holderKey)
  redis.call('INCR', tokenKey)
end
return 1
`,
};

/**
 * Appends records to a log. The last entry carries the name of the append, by which one whose answer was lost is recognised.
 * Answers the last sequence; or -1 and the last sequence when the writer expected another.
 */
export const APPEND: RedisScript = {
  name: 'weftAppend',
  numberOfKeys: 3,
  lua: `
local tokenKey, logKey, namesKey = KEYS[1], KEYS[2], KEYS[3]
local token, name, expected, append, first = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], 5
local current = redis.call('GET', tokenKey)
if current ~= token then return ${fencedReply('current', 'token')} end
local last, lastAppend = 0, nil
local entries = redis.call('XREVRANGE', logKey, '+', '-', 'COUNT', 1)
if entries[1] then
  last = tonumber(string.match(entries[1][1], '^%d+'))
  lastAppend = entries[1][2][4]
end
local count = #ARGV - first + 1
if last == expected + count and lastAppend == append then return { last } end
if last ~= expected then return { -1, last } end
redis.call('SADD', namesKey, name)
for index = 1, count do
  local id = string.format('%d-0', last + index)
  if index < count then
    redis.call('XADD', logKey, id, 'record', ARGV[first + index - 1])
  else
    redis.call('XADD', logKey, id, 'record', ARGV[first + index - 1], 'append', append)
  end
end
return { last + count }
`,
};

/** Stores the intent of a change of the queue; without text, that it was executed. For a fenced client. */
export const INTEND: RedisScript = {
  name: 'weftIntend',
  numberOfKeys: 1,
  lua: `
if ARGV[1] == '' then return redis.call('DEL', KEYS[1]) end
return redis.call('SET', KEYS[1], ARGV[1])
`,
};

/**
 * BullMQ takes the next job, but the coordinator takes a certain one. This does what BullMQ's moveToActive (6.7.0) does, for
 * the job of this id, also while the queue is paused. For a fenced client.
 */
export const TAKE: RedisScript = {
  name: 'weftTake',
  numberOfKeys: 7,
  lua: `
local wait, prioritized, delayed, waitingChildren, active, events, job =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local id, lock, nowMs = ARGV[1], ARGV[2], ARGV[3]
local removed = redis.call('LREM', wait, 1, id) + redis.call('ZREM', prioritized, id)
  + redis.call('ZREM', delayed, id) + redis.call('ZREM', waitingChildren, id)
if removed == 0 then return 0 end
redis.call('LPUSH', active, id)
redis.call('SET', job .. ':lock', lock)
redis.call('HSET', job, 'processedOn', nowMs)
redis.call('HINCRBY', job, 'ats', 1)
redis.call('XADD', events, '*', 'event', 'active', 'jobId', id, 'prev', 'waiting')
return 1
`,
};

const hashes = new Map<RedisScript, string>();

/** Runs a script by its hash, and sends its text when the server does not know it. */
export async function runScript(
  client: RedisClient,
  script: RedisScript,
  keys: readonly string[],
  words: readonly (string | number)[],
): Promise<unknown> {
  const hash = hashes.get(script) ?? createHash('sha1').update(script.lua).digest('hex');
  hashes.set(script, hash);
  try {
    return await client.evalsha(hash, keys.length, ...keys, ...words);
  } catch (thrown) {
    if (!(thrown instanceof Error && thrown.message.startsWith('NOSCRIPT'))) throw thrown;
    return client.eval(script.lua, keys.length, ...keys, ...words);
  }
}

/**
 * A client for BullMQ. Every script it runs, BullMQ's own too, first checks that the lease still has the client's token, and
 * changes nothing otherwise. So a coordinator that was suspended and wakes up does no harm, atomically.
 *
 * The token is one more argument at the end of every call; the script removes it before its own part reads the arguments.
 */
export function fencedClient(client: IRedisClient, tokenKey: string, token: number): IRedisClient {
  const fence = `
local weftToken, weftCurrent = table.remove(ARGV), redis.call('GET', '${tokenKey}')
if weftCurrent ~= weftToken then return ${fencedReply('weftCurrent', 'weftToken')} end
`;
  const overrides: Partial<IRedisClient> = {
    defineCommand: (name, definition) => client.defineCommand(name, { ...definition, lua: fence + definition.lua }),
    runCommand: (name, words) => client.runCommand(name, [...words, token]),
    multi: () => fencedTransaction(client.multi(), token),
    pipeline: () => fencedTransaction(client.pipeline(), token),
  };
  return new Proxy(client, {
    get: (target, property) => Reflect.get(property in overrides ? overrides : target, property),
  });
}

function fencedTransaction(transaction: IRedisTransaction, token: number): IRedisTransaction {
  const runCommand = transaction.runCommand.bind(transaction);
  transaction.runCommand = (name, words) => {
    runCommand(name, [...words, token]);
    return transaction;
  };
  return transaction;
}
