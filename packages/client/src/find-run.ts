import { didYouMean, WeftError } from '@weft/common';
import type { RunView } from '@weft/contracts';
import { type ClusterLocation, findCoordinator } from './find-coordinator.js';
import { listRunIds, readRun, readRuns, type UnreadableRun } from './run-files.js';
import { withLogs } from './run-logs.js';
import type { RunsClient } from './runs-client.js';

/** A run and the coordinator that described it; without a coordinator the run was read from its files. */
export interface FoundRun {
  readonly run: RunView;
  readonly client: RunsClient | undefined;
}

/** Finds a run by what a person typed and calls `use` with it; closes the connection afterwards. */
export async function withRun<T>(
  context: ClusterLocation,
  text: string,
  use: (found: FoundRun) => Promise<T>,
): Promise<T> {
  const found = await askCoordinator(context, async (client) => {
    const runs = await client.list();
    const runId = chooseRun(
      text,
      runs.map((run) => run.runId),
    );
    return client.get(runId);
  });
  if (found === undefined) {
    const runId = chooseRun(text, await listRunIds(context.home));
    const run = await withLogs(context, (logOf) => readRun(context.home, runId, logOf));
    return use({ run, client: undefined });
  }
  try {
    return await use({ run: found.answer, client: found.client });
  } finally {
    found.client.close();
  }
}

/** All runs, oldest first: those of the coordinator when there is one, otherwise those with files in the home. */
export async function listRuns(context: ClusterLocation): Promise<{ runs: RunView[]; unreadable: UnreadableRun[] }> {
  const found = await askCoordinator(context, (client) => client.list());
  if (found === undefined) return withLogs(context, (logOf) => readRuns(context.home, logOf));
  found.client.close();
  return { runs: found.answer.toSorted((a, b) => a.createdAtMs - b.createdAtMs), unreadable: [] };
}

/**
 * What the coordinator answers; undefined when there is none, also when that of the home ends while it is asked, as at the
 * end of a local run. The caller closes the client.
 */
async function askCoordinator<T>(
  context: ClusterLocation,
  ask: (client: RunsClient) => Promise<T>,
): Promise<{ readonly client: RunsClient; readonly answer: T } | undefined> {
  const found = await findCoordinator(context);
  if (found === undefined) return undefined;
  try {
    return { client: found.client, answer: await ask(found.client) };
  } catch (error) {
    found.client.close();
    const isEnding = WeftError.is(error, 'unavailable') || WeftError.is(error, 'cancelled');
    if (isEnding && found.sharesFilesystem) return undefined;
    throw error;
  }
}

/** How many candidates an error lists. */
const LISTED = 5;

/**
 * The id a person meant: a whole id, a beginning or an end that fits only one, or `last` for the newest.
 *
 * @param runIds oldest first
 * @throws WeftError `not_found` naming a similar one, `invalid_argument` when several fit.
 */
export function chooseRun(text: string, runIds: readonly string[]): string {
  if (runIds.includes(text)) return text;
  if (text === 'last') {
    const newest = runIds.at(-1);
    if (newest !== undefined) return newest;
    throw new WeftError('not_found', 'there is no run yet', {
      hint: 'launch one with weft launch debugTiny --local 2',
    });
  }
  const fitting = runIds.filter((runId) => runId.startsWith(text) || runId.endsWith(text));
  const [only, ...others] = fitting;
  if (only !== undefined && others.length === 0) return only;
  if (only !== undefined) {
    const listed = fitting.slice(-LISTED).join(', ');
    throw new WeftError('invalid_argument', `${fitting.length} runs fit ${JSON.stringify(text)}`, {
      hint: `write more of the id, or its last letters: ${listed}${fitting.length > LISTED ? ', …' : ''}`,
    });
  }
  const meant = didYouMean(text, runIds);
  throw new WeftError('not_found', `there is no run ${JSON.stringify(text)}`, {
    hint: meant === undefined ? 'see weft ls' : `did you mean ${meant}; weft ls lists them all`,
  });
}
