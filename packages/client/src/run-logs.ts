import { WeftError } from '@weft/common';
import { parseRunRecord, type RunRecord } from '@weft/coordination';
import { Home } from '@weft/files';
import { openStore, readLogFile } from '@weft/store';
import type { ClusterLocation } from './find-coordinator.js';
import type { RunsClient } from './runs-client.js';

/** Reads the log of a run: from files of the home, from Redis, or through a coordinator. */
export type ReadLog = (runId: string) => AsyncIterable<{ readonly record: unknown }>;

/** The path of a run's log in the files of a home. */
export const eventsFile = (home: string, runId: string) => new Home(home).eventsFile(runId);

function logsInFiles(home: string): ReadLog {
  return (runId) => readLogFile(eventsFile(home, runId));
}

/** Calls `use` with a reader of the Redis that was named, or with undefined: then the logs are files of the home. */
export async function withLogs<T>(
  { home, redisUrl, keyPrefix }: ClusterLocation,
  use: (read: ReadLog | undefined) => Promise<T>,
): Promise<T> {
  if (redisUrl === undefined) return use(undefined);
  const prefix = keyPrefix === undefined ? {} : { keyPrefix };
  // Tried once, because a person waits.
  const store = await openStore({ home, redisUrl, connectTimeoutMs: 0, ...prefix });
  try {
    return await use((runId) => store.log(runId).read());
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
  if (client !== undefined) return readRecords((id) => client.readLog(id), runId);
  return withLogs(context, (read) => readRunRecords(context.home, runId, read));
}

/**
 * The records of a run's log, which a coordinator may be writing.
 *
 * @throws WeftError `not_found` when there is no such run, `corrupt_data` naming file and line.
 */
export async function readRunRecords(
  home: string,
  runId: string,
  read: ReadLog = logsInFiles(home),
): Promise<RunRecord[]> {
  return readRecords(read, runId).catch(noSuchRun(home, runId));
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

async function readRecords(read: ReadLog, runId: string): Promise<RunRecord[]> {
  const records: RunRecord[] = [];
  for await (const { record } of read(runId)) records.push(parseRunRecord(record));
  return records;
}
