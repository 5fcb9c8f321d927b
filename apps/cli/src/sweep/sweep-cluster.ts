import { type RunsClient, SweepsClient } from '@weft/client';
import { WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { EXIT } from '../report-error.js';
import { openCluster } from '../runs/open-cluster.js';
import type { SweepDisplay } from './sweep-display.js';

/** The cluster that a sweep or grid trains on. */
export interface SweepCluster {
  readonly runs: RunsClient;
  readonly sweeps: SweepsClient;
  readonly sharesFilesystem: boolean;
  /** Aborts at Ctrl-C, or when the processes of a local cluster die. */
  readonly signal: AbortSignal;
}

/** Options of `withSweepCluster`. */
export interface SweepClusterOptions {
  /** Starts a cluster of so many workers on this machine; undefined: one that is there. */
  readonly localWorkers: number | undefined;
  /** Closed at the end. */
  readonly display: Pick<SweepDisplay<never>, 'event' | 'close'>;
  /** How the command comes back to the sweep, without the name of the program. */
  readonly command: string;
}

/**
 * Launches and follows a sweep on a cluster. After Ctrl-C it says how to come back.
 *
 * @returns the exit code
 * @throws WeftError why a local cluster failed; errors of `use`.
 */
export async function withSweepCluster(
  context: CommandContext,
  { localWorkers, display, command }: SweepClusterOptions,
  use: (cluster: SweepCluster) => Promise<number>,
): Promise<number> {
  const interrupts = new Interrupts();
  try {
    return await onCluster(context, localWorkers, display, interrupts, use);
  } catch (thrown) {
    if (!interrupts.first.aborted || !WeftError.is(thrown, 'cancelled')) throw thrown;
    const again = `${context.terminal.commandName} ${command}`;
    display.event(
      localWorkers === undefined
        ? `The sweep goes on without this command. Come back with ${again}`
        : `The sweep is interrupted. Continue it with ${again} --local ${localWorkers}`,
    );
    return EXIT.stopped;
  } finally {
    display.close();
    interrupts.close();
  }
}

async function onCluster(
  context: CommandContext,
  localWorkers: number | undefined,
  display: SweepClusterOptions['display'],
  interrupts: Interrupts,
  use: (cluster: SweepCluster) => Promise<number>,
): Promise<number> {
  const onProgress = (sentence: string) => display.event(sentence);
  const cluster = await openCluster({ context, localWorkers, interrupts, onProgress, recover: 'auto' });
  const { client: runs, sharesFilesystem, local } = cluster;
  const failed = new AbortController();
  local?.onExit(async (sentence) => {
    display.event(sentence);
    if ((await local.failure()) !== undefined) failed.abort();
  });
  interrupts.beforeExit(() => local?.kill());
  try {
    const sweeps = await SweepsClient.connect(runs.address);
    try {
      const signal = AbortSignal.any([interrupts.first, failed.signal]);
      return await use({ runs, sweeps, sharesFilesystem, signal });
    } finally {
      sweeps.close();
    }
  } catch (thrown) {
    throw (await local?.failure()) ?? thrown;
  } finally {
    display.close();
    await cluster.close();
  }
}
