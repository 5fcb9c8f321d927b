import { WeftError } from '@weft/common';
import { Cluster } from 'ioredis';
import { redisError } from './redis-errors.js';
import type { RedisClient } from './redis-link.js';
import type { RedisTarget } from './redis-url.js';

/** BullMQ recommends it, and it is the first version with all commands of Weft's scripts. */
const OLDEST = '6.2.0';

/** What was found about a Redis server. */
export interface ServerFacts {
  /** `Redis 7.0.15`, `Valkey 8.0.1`. */
  readonly name: string;
  readonly warnings: readonly string[];
}

/**
 * Checks whether this Redis can keep runs.
 *
 * @throws WeftError `failed_precondition` with the hint when it is too old, evicts keys, is a replica, is of another kind
 * than its URL, or has no such database.
 */
export async function checkServer(
  client: RedisClient,
  { kind, displayName: place, database }: RedisTarget,
): Promise<ServerFacts> {
  const refuse = (thrown: unknown): never => {
    throw redisError(thrown, place);
  };
  const nodes = client instanceof Cluster ? client.nodes('master') : [client];
  const facts: ServerFacts[] = [];
  for (const node of nodes) facts.push(checkServerInfo(await node.info().catch(refuse), place, kind));
  // The client silently uses database 0 when it cannot have another.
  if (database > 0) await client.select(database).catch(refuse);
  return { name: facts[0]?.name ?? 'Redis', warnings: [...new Set(facts.flatMap(({ warnings }) => warnings))] };
}

/** Checks the answer to `INFO`. */
export function checkServerInfo(info: string, place: string, kind: RedisTarget['kind'] = 'single'): ServerFacts {
  const facts = new Map(
    info.split(/\r?\n/).map((line) => [line.split(':', 1)[0] ?? '', line.slice(line.indexOf(':') + 1)]),
  );
  const version = facts.get('redis_version') ?? '0';
  const valkey = facts.get('valkey_version');
  const name = valkey === undefined ? `Redis ${version}` : `Valkey ${valkey}`;
  const refusal = (what: string, hint: string) =>
    new WeftError('failed_precondition', `${name} at ${place} ${what}`, { hint });
  const mode = facts.get('redis_mode');
  if (mode === 'sentinel')
    throw refusal('is a sentinel', 'write redis+sentinel:// in front, and the name of the master at the end');
  if (mode === 'cluster' && kind !== 'cluster')
    throw refusal('is a node of a cluster', 'write redis+cluster:// in front');
  if (isOlder(version, OLDEST)) throw refusal(`is too old, Weft needs ${OLDEST}`, `install Redis ${OLDEST} or newer`);
  const policy = facts.get('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    throw refusal(
      `may throw away runs when its memory is full: its maxmemory-policy is ${policy}`,
      'set `maxmemory-policy noeviction` in redis.conf, now with `redis-cli CONFIG SET maxmemory-policy noeviction`',
    );
  }
  if (facts.get('role') === 'slave') throw refusal('is a replica and cannot be written', 'name the master in its URL');
  const durable = facts.get('aof_enabled') === '1';
  const warning = `${name} at ${place} keeps no append-only file: what happened since its last snapshot is lost when it stops. Set \`appendonly yes\` in redis.conf, now with \`redis-cli CONFIG SET appendonly yes\`.`;
  return { name, warnings: durable ? [] : [warning] };
}

function isOlder(version: string, than: string): boolean {
  const [left, right] = [version, than].map((text) => text.split('.').map(Number));
  for (const [index, wanted] of (right ?? []).entries()) {
    const found = left?.[index] ?? 0;
    if (found !== wanted) return found < wanted;
  }
  return false;
}
