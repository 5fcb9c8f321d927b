import { WeftError } from '@weft/common';
import { Home, readCoordinatorFile, shortPath } from '@weft/files';
import { RunsClient } from './runs-client.js';

/** Which coordinator, or else which files, a command is about. */
export interface ClusterLocation {
  /** Absolute. */
  readonly home: string;
  /** `host:port` of the coordinator that the person named; undefined: the one of the home. */
  readonly coordinator: string | undefined;
  /** Where logs are kept when not in files of the home. */
  readonly redisUrl: string | undefined;
  readonly keyPrefix: string | undefined;
}

export interface FoundCoordinator {
  readonly client: RunsClient;
  /** Whether it was found through the home of this machine, so that it sees the same files as we do. */
  readonly sharesFilesystem: boolean;
}

/**
 * The coordinator that was named, or the one of this home; `undefined` when none was named and none lives here.
 *
 * @throws `unavailable` when a named one does not answer.
 */
export async function findCoordinator({ coordinator, home }: ClusterLocation): Promise<FoundCoordinator | undefined> {
  if (coordinator !== undefined) return { client: await connectTo(coordinator), sharesFilesystem: false };
  const file = await readCoordinatorFile(new Home(home));
  if (file === undefined) return undefined;
  // The file of a coordinator that was killed stays behind; nobody answers then.
  const client = await RunsClient.connect(file.address).catch(() => undefined);
  return client === undefined ? undefined : { client, sharesFilesystem: true };
}

/** As `findCoordinator`; without one, an error that says how to get one. */
export async function requireCoordinator(context: ClusterLocation): Promise<FoundCoordinator> {
  const found = await findCoordinator(context);
  if (found === undefined) throw noCoordinator(context, 'add --local 2');
  return found;
}

export function noCoordinator({ home }: ClusterLocation, localCure: string): WeftError {
  return new WeftError('unavailable', `no coordinator is running for ${shortPath(home)}`, {
    cure: `${localCure} to train on this machine, start one with weft coordinator and workers with weft worker, or name one with --coordinator host:port`,
  });
}

async function connectTo(address: string): Promise<RunsClient> {
  try {
    return await RunsClient.connect(address);
  } catch (cause) {
    const { code, message } = WeftError.from(cause);
    throw new WeftError(code, `no coordinator answers at ${address} (${message})`, {
      cure: 'check the address, and that weft coordinator runs there',
      cause,
    });
  }
}
