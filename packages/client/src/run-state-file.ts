import { WeftError } from '@weft/common';
import { RUN_STATE_VERSION } from '@weft/contracts';
import type { RunRecord, RunState } from '@weft/coordination';
import { Home } from '@weft/files';
import type { LogReader } from '@weft/store';
import type { ClusterLocation } from './find-coordinator.js';
import { foldLog } from './log-cache.js';
import { logsInFiles, withLogs } from './run-logs.js';

/**
 * The state that a run's log describes, with `state.json` of the run as its cache.
 *
 * @throws WeftError `not_found` when there is no log, `corrupt_data` when the log is empty or the records read are damaged.
 */
export async function readRunState(home: Home, runId: string, log: LogReader): Promise<RunState> {
  return required(
    await foldLog<RunState>(home.stateFile(runId), log, {
      version: RUN_STATE_VERSION,
      prepare: async () => {
        const { applyRecord, parseRunRecord } = await import('@weft/coordination');
        return (state, record) => applyRecord(state, parseRunRecord(record));
      },
    }),
  );
}

type LedgerEntry = Extract<RunRecord, { kind: 'committed' }>['entry'];

/**
 * The overview of a run's ledger and the configuration of the run, from a log that this process can read.
 *
 * @returns undefined when it takes the whole log
 * @throws WeftError as `readRunState`.
 */
export async function loadLedgerOverview(
  context: ClusterLocation,
  runId: string,
): Promise<(LedgerOverview & Pick<RunState, 'config'>) | undefined> {
  const home = new Home(context.home);
  return withLogs(context, async (logOf = logsInFiles(context.home)) => {
    const { config } = await readRunState(home, runId, logOf(runId));
    const overview = await readLedgerOverview(home, runId, logOf(runId));
    return overview === undefined ? undefined : { ...overview, config };
  });
}

/** What a run has consumed, without the entry of every step. JSON-serialisable. */
export interface LedgerOverview {
  readonly lastStep: number;
  /** Sequences of each source. */
  readonly consumed: Readonly<Record<string, number>>;
  readonly resumes: number;
  /** The last steps, at least ten of them where there are so many. */
  readonly recent: readonly LedgerEntry[];
}

/** The entries of so many steps are kept: a run is seldom rolled back further. */
const KEPT_STEPS = 1000;
const LEDGER_VERSION = 1;

interface LedgerState {
  consumed: Record<string, number>;
  resumes: number;
  recent: LedgerEntry[];
  /** Whether entries that counted before `recent` were dropped from it. */
  hasOlder: boolean;
  /** The run was rolled back beyond `recent`, or skips data, so that only its whole log tells what it consumed. */
  isLost: boolean;
}

/**
 * The overview of a run's ledger, with `ledger.json` of the run as its cache.
 *
 * @returns undefined when it takes the whole log
 * @throws WeftError as `readRunState`.
 */
export async function readLedgerOverview(
  home: Home,
  runId: string,
  log: LogReader,
): Promise<LedgerOverview | undefined> {
  const state = required(
    await foldLog<LedgerState>(home.ledgerFile(runId), log, {
      version: LEDGER_VERSION,
      prepare: async () => {
        const { parseRunRecord } = await import('@weft/coordination');
        return (known, record) => addRecord(known ?? emptyLedger(), parseRunRecord(record));
      },
    }),
  );
  if (state.isLost) return undefined;
  const { consumed, resumes, recent } = state;
  return { lastStep: recent.at(-1)?.step ?? 0, consumed, resumes, recent };
}

const emptyLedger = (): LedgerState => ({ consumed: {}, resumes: 0, recent: [], hasOlder: false, isLost: false });

function addRecord(state: LedgerState, record: RunRecord): LedgerState {
  if (record.kind === 'committed') addEntry(state, record.entry);
  if (record.kind === 'resumed') rollBack(state, record.fromStep);
  // What was skipped is told by the whole log.
  if (record.kind === 'rolledBack') state.isLost = true;
  return state;
}

function addEntry(state: LedgerState, entry: LedgerEntry): void {
  state.recent.push(entry);
  count(state, entry, 1);
  if (state.recent.length < 2 * KEPT_STEPS) return;
  state.recent = state.recent.slice(-KEPT_STEPS);
  state.hasOlder = true;
}

function rollBack(state: LedgerState, fromStep: number): void {
  state.resumes++;
  for (let last = state.recent.at(-1); last !== undefined && last.step > fromStep; last = state.recent.at(-1)) {
    count(state, last, -1);
    state.recent.pop();
  }
  // Older entries may have to go as well, and are not known.
  if (state.hasOlder && state.recent.length === 0) state.isLost = true;
}

function count({ consumed }: LedgerState, { ranges }: LedgerEntry, sign: 1 | -1): void {
  for (const [source, { first, end }] of Object.entries(ranges))
    consumed[source] = (consumed[source] ?? 0) + sign * (end - first);
}

function required<State>(state: State | undefined): State {
  if (state === undefined) throw new WeftError('corrupt_data', 'the log of a run is empty');
  return state;
}
