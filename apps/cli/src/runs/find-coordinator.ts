import { readFile } from 'node:fs/promises';
import { WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { coordinatorFile, shortPath } from '../home.js';
import { CoordinatorClient } from './coordinator-client.js';

/** What a living coordinator writes into its home. */
export interface CoordinatorFile {
  readonly address: string;
  readonly metricsAddress: string | undefined;
  readonly processId: number;
  readonly version: string | undefined;
}

export interface FoundCoordinator {
  readonly client: CoordinatorClient;
  /** Whether it was found through the home of this machine, so that it sees the same files as we do. */
  readonly isHere: boolean;
}

/**
 * The coordinator that was named, or the one of this home; `undefined` when none was named and none lives here.
 *
 * @throws `unavailable` when a named one does not answer.
 */
export async function findCoordinator({ coordinator, home }: CommandContext): Promise<FoundCoordinator | undefined> {
  if (coordinator !== undefined) return { client: await named(coordinator), isHere: false };
  const file = await readCoordinatorFile(home);
  if (file === undefined) return undefined;
  // The file of a coordinator that was killed stays behind; nobody answers then.
  const client = await CoordinatorClient.connect(file.address).catch(() => undefined);
  return client === undefined ? undefined : { client, isHere: true };
}

/** As `findCoordinator`; without one, an error that says how to get one. */
export async function requireCoordinator(context: CommandContext): Promise<FoundCoordinator> {
  const found = await findCoordinator(context);
  if (found === undefined) throw noCoordinator(context, 'add --local 2');
  return found;
}

export function noCoordinator({ home }: CommandContext, localCure: string): WeftError {
  return new WeftError('unavailable', `no coordinator is running for ${shortPath(home)}`, {
    cure: `${localCure} to train on this machine, start one with weft coordinator and workers with weft worker, or name one with --coordinator host:port`,
  });
}

/** `coordinator.json` of a home; `undefined` when there is none or it is half-written. */
export async function readCoordinatorFile(home: string): Promise<CoordinatorFile | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(coordinatorFile(home), 'utf8'));
    if (typeof value !== 'object' || value === null || !('address' in value) || !('processId' in value))
      return undefined;
    const { address, processId } = value;
    if (typeof address !== 'string' || typeof processId !== 'number') return undefined;
    const text = (name: string) => {
      const field: unknown = Object.entries(value).find(([key]) => key === name)?.[1];
      return typeof field === 'string' ? field : undefined;
    };
    return { address, processId, metricsAddress: text('metricsAddress'), version: text('version') };
  } catch {
    return undefined;
  }
}

async function named(address: string): Promise<CoordinatorClient> {
  try {
    return await CoordinatorClient.connect(address);
  } catch (cause) {
    const { code, message } = WeftError.from(cause);
    throw new WeftError(code, `no coordinator answers at ${address} (${message})`, {
      cure: 'check the address, and that weft coordinator runs there',
      cause,
    });
  }
}
