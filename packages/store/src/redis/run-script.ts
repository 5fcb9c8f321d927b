import { createHash } from 'node:crypto';
import type { RedisClient } from './connect-redis.js';
import type { RedisScript } from './redis-scripts.js';

const hashes = new Map<RedisScript, string>();

/** Runs a script by its hash, and hands it over when the server does not know it (any more). */
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
