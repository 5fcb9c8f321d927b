import type { CommandContext } from '../context.js';
import { LocalCluster } from '../local/local-cluster.js';
import type { Display } from '../progress/display.js';
import type { CoordinatorClient } from './coordinator-client.js';
import { requireCoordinator } from './find-coordinator.js';

/** Somebody who runs runs: a coordinator that was there, or one of our own with its workers. */
export interface OpenCluster {
  readonly client: CoordinatorClient;
  /** Whether it sees the same files as we do. */
  readonly isHere: boolean;
  readonly local: LocalCluster | undefined;
  /** Ends what was started here. */
  close(): Promise<void>;
}

/** @param workersHere how many workers to start on this machine; `undefined` to use a coordinator that runs already. */
export async function openCluster(
  context: CommandContext,
  display: Display,
  workersHere: number | undefined,
): Promise<OpenCluster> {
  if (workersHere === undefined) {
    const { client, isHere } = await requireCoordinator(context);
    return { client, isHere, local: undefined, close: async () => client.close() };
  }
  const local = await LocalCluster.start({
    home: context.home,
    workers: workersHere,
    env: context.terminal.env,
    onProgress: (sentence) => display.event(sentence),
  });
  return { client: local.client, isHere: true, local, close: () => local.close() };
}
