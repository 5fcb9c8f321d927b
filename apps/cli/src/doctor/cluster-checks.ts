import { findCoordinator } from '@weft/client';
import { plural, WEFT_VERSION, WeftError } from '@weft/common';
import { openStore } from '@weft/store';
import type { CommandContext } from '../context.js';
import type { Check } from './check.js';

/** The coordinator of this home, or the one that was named, and its workers. */
export async function clusterChecks(context: CommandContext): Promise<Check[]> {
  const name = 'coordinator';
  try {
    const found = await findCoordinator(context);
    if (found === undefined)
      return [{ name, status: 'note', finding: 'none is running; launch --local starts its own' }];
    const { client } = found;
    const { coordinatorVersion, workers, store, storeError } = await client.cluster();
    client.close();
    const where = `at ${client.address}, version ${coordinatorVersion}, ${plural(workers.length, 'worker')}`;
    const finding = `${where}; logs and queue are in ${store}`;
    if (storeError !== '')
      return [
        { name, status: 'missing', finding: `${where}; ${storeError}`, hint: 'look after the store: training waits' },
      ];
    return coordinatorVersion === WEFT_VERSION
      ? [{ name, status: 'ok', finding }]
      : [
          {
            name,
            status: 'missing',
            finding,
            hint: `run version ${coordinatorVersion} here, or ${WEFT_VERSION} there`,
          },
        ];
  } catch (thrown) {
    const { message, hint } = WeftError.from(thrown);
    return [{ name, status: 'missing', finding: message, ...(hint === undefined ? {} : { hint }) }];
  }
}

/**
 * Whether the Redis for logs and queue answers and is fit, with the checks of the coordinator but one attempt. Skipped when
 * no Redis is named.
 */
export async function redisCheck({
  home,
  redisUrl,
  keyPrefix,
}: Pick<CommandContext, 'home' | 'redisUrl' | 'keyPrefix'>): Promise<Check> {
  const name = 'Redis';
  if (redisUrl === undefined)
    return { name, status: 'note', finding: 'not asked for here (WEFT_REDIS_URL is not set)' };
  try {
    const prefix = keyPrefix === undefined ? {} : { keyPrefix };
    const store = await openStore({ home, redisUrl, connectTimeoutMs: 0, ...prefix });
    const { description, warnings } = store;
    await store.close();
    const [warning] = warnings;
    if (warning === undefined) return { name, status: 'ok', finding: description };
    return { name, status: 'missing', finding: warning, hint: 'do so before you trust it with runs' };
  } catch (thrown) {
    const { message, hint } = WeftError.from(thrown);
    const finding = `WEFT_REDIS_URL is set, but: ${message}`;
    return { name, status: 'missing', finding, hint: hint ?? 'correct WEFT_REDIS_URL, or unset it to use files' };
  }
}
