import { type FoundCoordinator, requireCoordinator } from '@weft/client';
import type { Cluster, ClusterRequest } from '@weft/launch';
import type { CommandContext } from '../context.js';
import type { Interrupts } from '../interrupts.js';
import { localLauncher } from '../local-processes.js';

/** A cluster that a command uses until `close`. */
export interface OpenCluster extends FoundCoordinator {
  /** Set when this command started the processes. */
  readonly local: Cluster | undefined;
  close(): Promise<void>;
}

/** Options of `openCluster`. */
export interface OpenClusterOptions extends Pick<ClusterRequest, 'expertWorkers' | 'recover' | 'onProgress'> {
  readonly context: CommandContext;
  /** How many workers to start on this machine; undefined: use a coordinator that already runs. */
  readonly localWorkers: number | undefined;
  readonly interrupts: Interrupts;
}

/**
 * Connects to the coordinator that was named or that of the home; or starts one with its workers on this machine, which end
 * with `close`.
 *
 * @throws WeftError `unavailable` when there is no coordinator; errors as `Launcher.start`.
 */
export async function openCluster(options: OpenClusterOptions): Promise<OpenCluster> {
  const { context, localWorkers, interrupts, ...request } = options;
  if (localWorkers === undefined) {
    const found = await requireCoordinator(context);
    return { ...found, local: undefined, close: async () => found.client.close() };
  }
  const local = await localLauncher(context).start({ ...request, workers: localWorkers, signal: interrupts.first });
  return { client: local.client, sharesFilesystem: true, local, close: () => local.close() };
}
