import { WeftError } from '@weft/common';
import { Home, readCoordinatorFile, shortPath } from '@weft/files';
import { RunsClient } from './runs-client.js';

/** Which coordinator a command asks, and which files it reads when there is none. */
export interface ClusterLocation {
  /** Absolute. */
  readonly home: string;
  /** `host:port` of the coordinator that the person named; undefined: the one of the home. */
  readonly coordinator: string | undefined;
  /** The Redis that keeps the logs; undefined: files of the home. */
  readonly redisUrl: string | undefined;
  readonly keyPrefix: string | undefined;
}

/** A coordinator that answered; close its client after use. */
export interface FoundCoordinator {
  readonly client: RunsClient;
  /** Whether it was found through the home, and therefore sees the same files as this process. */
  readonly sharesFilesystem: boolean;
}

/**
 * The coordinator that was named, or the one of this home; `undefined` when none was named and the home has none.
 *
 * @throws WeftError `unavailable` when a named one does not answer.
 */
export async function findCoordinator({ coordinator, home }: ClusterLocation): Promise<FoundCoordinator | undefined> {
  if (coordinator !== undefined) return { client: await connectTo(coordinator), sharesFilesystem: false };
  const file = await readCoordinatorFile(new Home(home));
  if (file === undefined) return undefined;
  // A coordinator that was killed leaves its file behind; then the address does not answer.
  const client = await RunsClient.connect(file.address).catch(() => undefined);
  return client === undefined ? undefined : { client, sharesFilesystem: true };
}

/**
 * The coordinator that took over from the one at `address`: `coordinator.json` names another, and it answers. Undefined also
 * where a person named the coordinator.
 */
export async function findSuccessor(
  { coordinator, home }: ClusterLocation,
  address: string,
): Promise<RunsClient | undefined> {
  const file = coordinator === undefined ? await readCoordinatorFile(new Home(home)) : undefined;
  if (file === undefined || file.address === address) return undefined;
  return RunsClient.connect(file.address).catch(() => undefined);
}

/** As `findCoordinator`. @throws WeftError `unavailable` with the ways to start one, when there is none. */
export async function requireCoordinator(context: ClusterLocation): Promise<FoundCoordinator> {
  const found = await findCoordinator(context);
  if (found === undefined) throw noCoordinator(context, 'add --local 2');
  return found;
}

/** The error without a coordinator. @param localHint how to train on this machine */
export function noCoordinator({ home }: ClusterLocation, localHint: string): WeftError {
  return new WeftError('unavailable', `no coordinator is running for ${shortPath(home)}`, {
    hint: `${localHint} to train on this machine, start one with weft coordinator and workers with weft worker, or name one with --coordinator host:port`,
  });
}

async function connectTo(address: string): Promise<RunsClient> {
  try {
    return await RunsClient.connect(address);
  } catch (cause) {
    const { code, message } = WeftError.from(cause);
    throw new WeftError(code, `no coordinator answers at ${address} (${message})`, {
      hint: 'check the address, and that weft coordinator runs there',
      cause,
    });
  }
}
