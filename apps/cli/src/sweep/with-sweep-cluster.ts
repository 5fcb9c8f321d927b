import { WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { LocalCluster } from '../local/local-cluster.js';
import { EXIT } from '../report-error.js';
import type { CoordinatorClient } from '../runs/coordinator-client.js';
import { requireCoordinator } from '../runs/find-coordinator.js';
import { SweepClient } from './sweep-client.js';
import { createSweepDisplay, type SweepDisplay } from './sweep-display.js';

export interface SweepCluster {
  readonly runs: CoordinatorClient;
  readonly sweeps: SweepClient;
  /** It sees the same files as we do. */
  readonly isHere: boolean;
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
      const sweeps = await SweepClient.connect(cluster.runs.address);
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
  readonly runs: CoordinatorClient;
  readonly isHere: boolean;
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
    const { client, isHere } = await requireCoordinator(context);
    const close = async () => client.close();
    return { runs: client, isHere, signal: interrupts.first, breakdown: async () => undefined, close };
  }
  const local = await LocalCluster.start({
    home: context.home,
    workers: workersHere,
    env: { ...context.terminal.env, ...(context.redisUrl === undefined ? {} : { WEFT_REDIS_URL: context.redisUrl }) },
    onProgress: (sentence) => display.event(sentence),
    signal: interrupts.first,
    recover: 'auto',
  });
  const broken = new AbortController();
  local.onEnding(async ({ process }) => {
    display.event(`${await process.obituary()}.`);
    if ((await local.breakdown()) !== undefined) broken.abort();
  });
  interrupts.beforeLeaving(() => local.kill());
  return {
    runs: local.client,
    isHere: true,
    signal: AbortSignal.any([interrupts.first, broken.signal]),
    breakdown: () => local.breakdown(),
    close: () => local.close(),
  };
}
