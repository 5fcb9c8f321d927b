import { WeftError } from '@weft/common';
import type { RunRecord } from '@weft/coordination';
import { Home } from '@weft/files';
import { FileStore, type LogReader, openStore } from '@weft/store';
import type { ClusterLocation } from './find-coordinator.js';
import type { RunsClient } from './runs-client.js';

/** The log of a run, in files of the home or in Redis. */
export type LogOf = (runId: string) => LogReader;

/** The path of a run's log in the files of a home. */
export const eventsFile = (home: string, runId: string) => new Home(home).eventsFile(runId);

/** The logs in the files of a home. */
export function logsInFiles(home: string): LogOf {
  const store = new FileStore(home);
  return (runId) => store.log(runId);
}

/** Calls `use` with a reader of the Redis that was named, or with undefined: then the logs are files of the home. */
export async function withLogs<T>(
  { home, redisUrl, keyPrefix }: ClusterLocation,
  use: (logOf: LogOf | undefined) => Promise<T>,
): Promise<T> {
  if (redisUrl === undefined) return use(undefined);
  const prefix = keyPrefix === undefined ? {} : { keyPrefix };
  // Tried once, because a person waits.
  const store = await openStore({ home, redisUrl, connectTimeoutMs: 0, ...prefix });
  try {
    return await use((runId) => store.log(runId));
  } finally {
    await store.close();
  }
}

/** The records of a run: from the coordinator that knows it, else as `withLogs`. */
export async function loadRunRecords(
  context: ClusterLocation,
  runId: string,
  client: RunsClient | undefined,
): Promise<RunRecord[]> {
  if (client !== undefined) return readRecords(client.readLog(runId));
  return withLogs(context, (logOf) => readRunRecords(context.home, runId, logOf));
}

/**
 * The records of a run's log, which a coordinator may be writing.
 *
 * @throws WeftError `not_found` when there is no such run, `corrupt_data` naming file and line.
 */
export async function readRunRecords(
  home: string,
  runId: string,
  logOf: LogOf = logsInFiles(home),
): Promise<RunRecord[]> {
  return readRecords(logOf(runId).read()).catch(noSuchRun(home, runId));
}

/** For `catch`: turns a missing log into a missing run. */
export function noSuchRun(home: string, runId: string): (thrown: unknown) => never {
  return (thrown) => {
    if (!WeftError.is(thrown, 'not_found')) throw thrown;
    throw new WeftError('not_found', `there is no run ${runId} in ${new Home(home).runsDirectory}`, {
      hint: 'see weft ls',
    });
  };
}

async function readRecords(entries: AsyncIterable<{ readonly record: unknown }>): Promise<RunRecord[]> {
  const { parseRunRecord } = await import('@weft/coordination');
  const records: RunRecord[] = [];
  for await (const { record } of entries) records.push(parseRunRecord(record));
  return records;
}
