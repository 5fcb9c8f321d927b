import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { WorkerProcessOptions } from './options.js';

/**
 * Where the coordinator is: as named, or as it says in its home. Asked before every attempt, since a coordinator that
 * comes back may listen on another port.
 *
 * @throws `unavailable` when none was named and none lives in the home.
 */
export async function findCoordinator({
  coordinator,
  home,
}: Pick<WorkerProcessOptions, 'coordinator' | 'home'>): Promise<string> {
  if (coordinator !== undefined) return coordinator;
  const file = join(home, 'coordinator.json');
  try {
    const written: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (typeof written === 'object' && written !== null && 'address' in written && typeof written.address === 'string')
      return written.address;
  } catch {
    // Said below: it is not there, or not whole.
  }
  throw new WeftError('unavailable', `no coordinator keeps ${home}`, {
    cure: 'start one with `weft coordinator`, or name one with --coordinator host:port',
  });
}
