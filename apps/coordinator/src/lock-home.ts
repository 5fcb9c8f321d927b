import { join } from 'node:path';
import { type Clock, WeftError } from '@weft/common';
import { ProcessLock, readJsonFile } from '@weft/store';
import { coordinatorFile } from './home.js';

/** One that was told to leave is given this time to do so. */
const PATIENCE_MS = 2000;
const RETRY_MS = 100;

/** Makes this process the one coordinator of a home. @throws `failed_precondition` naming the other one. */
export async function lockHome(home: string, clock: Clock): Promise<ProcessLock> {
  for (let waitedMs = 0; ; waitedMs += RETRY_MS) {
    try {
      return await ProcessLock.acquire(join(home, 'coordinator.lock'), `the home ${home}`);
    } catch (thrown) {
      const error = WeftError.from(thrown);
      if (error.code !== 'failed_precondition') throw error;
      if (waitedMs >= PATIENCE_MS) throw await heldByAnother(home, error);
      await clock.sleep(RETRY_MS);
    }
  }
}

async function heldByAnother(home: string, cause: WeftError): Promise<WeftError> {
  const file = await readJsonFile(coordinatorFile(home)).catch(() => undefined);
  const address = typeof file === 'object' && file !== null && 'address' in file ? ` at ${String(file.address)}` : '';
  return new WeftError('failed_precondition', `another coordinator${address} keeps this home: ${cause.message}`, {
    cure: 'use that one, stop it, or give this one a --home of its own',
    cause,
  });
}
