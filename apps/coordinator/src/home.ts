import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isRunId, WeftError } from '@weft/common';
import { asRunRecord, type RunRecord } from '@weft/coordination';
import { readLogFile } from '@weft/store';

/** `--home`, else `$WEFT_HOME`, else `.weft` in the current directory; absolute. */
export function homeDirectory(option: string | undefined, env: Readonly<Record<string, string | undefined>>): string {
  return resolve(option ?? (env.WEFT_HOME || '.weft'));
}

export function runDirectory(home: string, runId: string): string {
  return join(home, 'runs', runId);
}

export function eventLogPath(home: string, runId: string): string {
  return join(runDirectory(home, runId), 'events.jsonl');
}

/** The file that tells others of this machine where the living coordinator is. */
export function coordinatorFile(home: string): string {
  return join(home, 'coordinator.json');
}

/** The ids of the runs that have a log in this home. */
export async function runIdsIn(home: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(join(home, 'runs'), { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory() && isRunId(entry.name)).map(({ name }) => name);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return [];
    throw WeftError.from(thrown);
  }
}

/**
 * The records of a run's log; an append that a crash tore is left out.
 *
 * @throws `not_found` when it has no log, `corrupt_data` when a line of it cannot be.
 */
export async function readRunLog(home: string, runId: string): Promise<readonly RunRecord[]> {
  const records: RunRecord[] = [];
  for await (const { record } of readLogFile(eventLogPath(home, runId))) records.push(asRunRecord(record));
  return records;
}
