import { isRunId, WeftError } from '@weft/common';
import { parseRunRecord, type RunRecord, type RunState, replay } from '@weft/coordination';
import type { Store } from '@weft/store';
import type { Logger } from '@weft/telemetry';

/**
 * The records of a run's log; an append that a crash tore is left out.
 *
 * @throws `not_found` when it has no log, `corrupt_data` when a line of it cannot be.
 */
export async function readRunLog(store: Store, runId: string): Promise<readonly RunRecord[]> {
  const records: RunRecord[] = [];
  for await (const { record } of store.log(runId).read()) records.push(parseRunRecord(record));
  return records;
}

/** The runs of a store, from their logs. One that cannot be read is said and left out; the others are not its hostages. */
export async function replayRuns(store: Store, log: Logger): Promise<readonly RunState[]> {
  const runs: RunState[] = [];
  for (const runId of (await store.logNames()).filter(isRunId)) {
    try {
      const records = await readRunLog(store, runId);
      // A log that was made and never written: its launch was not answered.
      if (records.length > 0) runs.push(replay(records));
    } catch (thrown) {
      const error = WeftError.from(thrown);
      if (error.code === 'unavailable' || error.code === 'cancelled') throw error;
      // A folder without a log holds something else.
      if (error.code === 'not_found') continue;
      log.error({ error, runId }, `run ${runId} is left out: ${error.sentence}`);
    }
  }
  return runs;
}
