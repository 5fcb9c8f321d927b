import type { RunsClient } from '@weft/client';
import { requireCoordinator } from '@weft/client';
import { WeftError } from '@weft/common';
import type { RunView } from '@weft/contracts';
import type { Cluster } from '@weft/launch';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { createDisplay, type Display } from '../progress/display.js';
import { EXIT } from '../report-error.js';
import { localLauncher } from '../weft-script.js';
import { driveRun } from './drive-run.js';

export interface BeginOptions {
  readonly context: CommandContext;
  /** How many workers to start on this machine; `undefined` to use a coordinator that runs already. */
  readonly workersHere: number | undefined;
  /** How many expert workers to start beside them. */
  readonly expertWorkersHere: number;
  /** Leave as soon as the run is accepted. */
  readonly detach: boolean;
  /** Asks the coordinator for the run and tells of it. `sharesFiles`: it sees the same files as we do. */
  readonly begin: (cluster: OpenCluster, display: Display) => Promise<RunView>;
}

export interface OpenCluster {
  readonly client: RunsClient;
  readonly sharesFiles: boolean;
}

/**
 * Begins a run on somebody's cluster, or on one of our own that lives as long as the run, and drives it to its end.
 * Returns the exit code.
 */
export async function withCluster(options: BeginOptions): Promise<number> {
  const { context, detach, begin } = options;
  const interrupts = new Interrupts();
  const display = createDisplay(context.terminal, context);
  try {
    const cluster = await open(options, display, interrupts.first);
    try {
      const run = await begin(cluster, display);
      if (detach) return EXIT.done;
      const { client, local } = cluster;
      return await driveRun({ context, client, display, interrupts, run, cluster: local });
    } finally {
      display.close();
      await cluster.close();
    }
  } catch (thrown) {
    if (!interrupts.first.aborted || !WeftError.is(thrown, 'cancelled')) throw thrown;
    display.event('Left before there was a run.');
    return EXIT.stopped;
  } finally {
    display.close();
    interrupts.close();
  }
}

async function open(
  { context, workersHere, expertWorkersHere }: BeginOptions,
  display: Display,
  signal: AbortSignal,
): Promise<OpenCluster & { local: Cluster | undefined; close(): Promise<void> }> {
  if (workersHere === undefined) {
    const { client, sharesFiles } = await requireCoordinator(context);
    return { client, sharesFiles, local: undefined, close: async () => client.close() };
  }
  const local = await localLauncher(context).start({
    workers: workersHere,
    expertWorkers: expertWorkersHere,
    onProgress: (sentence) => display.event(sentence),
    signal,
  });
  return { client: local.client, sharesFiles: true, local, close: () => local.close() };
}
