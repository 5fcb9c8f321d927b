import { basename, dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { WeftError } from '@weft/common';
import { parseRunRecord, type RunRecord, type RunState, replay } from '@weft/coordination';
import { Home } from '@weft/files';
import { readLogFile } from '@weft/store';
import { ReplayCluster } from './replay-cluster.js';

/** Whether the decisions of a log follow from what its records tell of. */
export interface ReplayedRun {
  readonly runId: string;
  readonly records: number;
  /** Records of which the log does not tell what led to them, such as a worker that hung: they were taken as they are. */
  readonly givenRecords: number;
  /** The first record that is decided otherwise; undefined: there is none. */
  readonly difference: { readonly record: number; readonly logged: unknown; readonly decided: unknown } | undefined;
  /** What became of it, one sentence. */
  readonly sentence: string;
}

/** Records of these kinds follow from what they tell of. Others may have had a reason that is in no log. */
const DETERMINED: ReadonlySet<RunRecord['kind']> = new Set([
  'launched',
  'assigned',
  'committed',
  'checkpointWritten',
  'finished',
  'workerLost',
  'continued',
]);

/**
 * Plays a run's log again: the events that each record tells of are given to `decide`, which must decide the same.
 *
 * @param folder of the run: `<home>/runs/<runId>`
 * @throws WeftError `not_found` when there is no log, `corrupt_data` when it is damaged
 */
export async function replayRun(folder: string): Promise<ReplayedRun> {
  const directory = resolve(folder);
  const runId = basename(directory);
  const home = new Home(dirname(dirname(directory)));
  const records: RunRecord[] = [];
  for await (const { record } of readLogFile(home.eventsFile(runId))) records.push(parseRunRecord(record));
  return replayRecords(runId, records);
}

/** Like `replayRun`, for records that were read. */
export function replayRecords(runId: string, records: readonly RunRecord[]): ReplayedRun {
  if (records.length === 0) throw new WeftError('corrupt_data', `the log of run ${runId} is empty`);
  const cluster = new ReplayCluster(runId);
  let givenRecords = 0;
  for (let at = 0; at < records.length; ) {
    const logged = records.slice(at).map(asJson);
    const decided = cluster.lead(records, at).map(asJson);
    const same = decided.findIndex((record, i) => !isDeepStrictEqual(record, logged[i]));
    if (decided.length > 0 && same < 0) {
      at += decided.length;
      continue;
    }
    const wrong = decided[Math.max(0, same)] as RunRecord | undefined;
    const expected = records[at + Math.max(0, same)];
    if (wrong !== undefined && wrong.kind === expected?.kind && DETERMINED.has(wrong.kind)) {
      const record = at + Math.max(0, same) + 1;
      const sentence = `record ${record} of run ${runId} is ${JSON.stringify(expected)}, and is now decided as ${JSON.stringify(wrong)}`;
      return {
        runId,
        records: records.length,
        givenRecords,
        difference: { record, logged: expected, decided: wrong },
        sentence,
      };
    }
    givenRecords++;
    at++;
    cluster.take(records.slice(0, at));
  }
  const state = asJson(replay(records)) as RunState;
  const decided = asJson(cluster.state);
  const isSame = isDeepStrictEqual(decided, state);
  const given = givenRecords === 0 ? '' : `; of ${givenRecords} of them the log does not tell what led to them`;
  const sentence = isSame
    ? `the ${records.length} records of run ${runId} are decided again as they are${given}: it is ${state.status} at step ${state.step}`
    : `the state of run ${runId} after its ${records.length} records is not that of its log`;
  const difference = isSame ? undefined : { record: records.length, logged: state, decided };
  return { runId, records: records.length, givenRecords, difference, sentence };
}

const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
