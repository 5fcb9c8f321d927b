import type { RunsClient } from '@weft/client';
import { requireCoordinator, SweepsClient } from '@weft/client';
import { WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { EXIT } from '../report-error.js';
import { localLauncher } from '../weft-script.js';
import { createSweepDisplay, type SweepDisplay } from './sweep-display.js';

export interface SweepCluster {
  readonly runs: RunsClient;
  readonly sweeps: SweepsClient;
  /** It sees the same files as we do. */
  readonly sharesFiles: boolean;
  /** Aborts at Ctrl-C, or when the processes of a local cluster die. */
  readonly signal: AbortSignal;
}

/**
 * Does something with somebody's cluster, or with one of our own that lives as long as that. Whoever interrupts it
 * finds the sweep again by the same command.
 */
export async function withSweepCluster(
  context: CommandContext,
  workersHere: number | undefined,
  use: (cluster: SweepCluster, display: SweepDisplay) => Promise<number>,
): Promise<number> {
  const interrupts = new Interrupts();
  const display = createSweepDisplay(context.terminal, context);
  try {
    const cluster = await open(context, display, workersHere, interrupts);
    try {
      const sweeps = await SweepsClient.connect(cluster.runs.address);
      try {
        return await use({ ...cluster, sweeps }, display);
      } finally {
        sweeps.close();
      }
    } catch (thrown) {
      throw (await cluster.breakdown()) ?? thrown;
    } finally {
      display.close();
      await cluster.close();
    }
  } catch (thrown) {
    if (!interrupts.first.aborted || !WeftError.is(thrown, 'cancelled')) throw thrown;
    display.event(
      workersHere === undefined
        ? 'Left; the sweep goes on. The same command shows it again.'
        : 'Left; the same command goes on with it.',
    );
    return EXIT.stopped;
  } finally {
    display.close();
    interrupts.close();
  }
}

interface OpenCluster {
  readonly runs: RunsClient;
  readonly sharesFiles: boolean;
  readonly signal: AbortSignal;
  /** Why a local cluster cannot go on, when it cannot. */
  readonly breakdown: () => Promise<WeftError | undefined>;
  readonly close: () => Promise<void>;
}

async function open(
  context: CommandContext,
  display: SweepDisplay,
  workersHere: number | undefined,
  interrupts: Interrupts,
): Promise<OpenCluster> {
  if (workersHere === undefined) {
    const { client, sharesFiles } = await requireCoordinator(context);
    const close = async () => client.close();
    return { runs: client, sharesFiles, signal: interrupts.first, breakdown: async () => undefined, close };
  }
  const local = await localLauncher(context).start({
    workers: workersHere,
    onProgress: (sentence) => display.event(sentence),
    signal: interrupts.first,
    recover: 'auto',
  });
  const broken = new AbortController();
  local.onExit(async (sentence) => {
    display.event(sentence);
    if ((await local.failure()) !== undefined) broken.abort();
  });
  interrupts.beforeLeaving(() => local.kill());
  return {
    runs: local.client,
    sharesFiles: true,
    signal: AbortSignal.any([interrupts.first, broken.signal]),
    breakdown: () => local.failure(),
    close: () => local.close(),
  };
}
