import type { RunView } from '@weft/contracts';
import type { CommandContext } from '../context.js';
import { chooseRun } from './choose-run.js';
import type { CoordinatorClient } from './coordinator-client.js';
import { findCoordinator } from './find-coordinator.js';
import { readRun, readRuns, runIdsOf, type UnreadableRun } from './run-files.js';
import { withLogs } from './run-logs.js';

/** A run and the coordinator that knows it; without a coordinator, the run is what its files say. */
export interface FoundRun {
  readonly run: RunView;
  readonly client: CoordinatorClient | undefined;
}

/** Finds a run by what a person typed and hands it on; the connection is closed afterwards. */
export async function withRun<T>(
  context: CommandContext,
  text: string,
  use: (found: FoundRun) => Promise<T>,
): Promise<T> {
  const found = await findCoordinator(context);
  if (found === undefined) {
    const runId = chooseRun(text, await runIdsOf(context.home));
    const run = await withLogs(context, (read) => readRun(context.home, runId, read));
    return use({ run, client: undefined });
  }
  const { client } = found;
  try {
    const runs = await client.list();
    const runId = chooseRun(
      text,
      runs.map((run) => run.runId),
    );
    return await use({ run: await client.get(runId), client });
  } finally {
    client.close();
  }
}

/** All runs, oldest first: the coordinator's where one lives, otherwise those whose files lie here. */
export async function allRuns(context: CommandContext): Promise<{ runs: RunView[]; unreadable: UnreadableRun[] }> {
  const found = await findCoordinator(context);
  if (found === undefined) return withLogs(context, (read) => readRuns(context.home, read));
  try {
    const runs = await found.client.list();
    return { runs: runs.toSorted((a, b) => a.createdAtMs - b.createdAtMs), unreadable: [] };
  } finally {
    found.client.close();
  }
}
