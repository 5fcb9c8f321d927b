import type { Dirent } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunId, systemErrorCode, WeftError } from '@weft/common';
import { hasEnded, type MetricsRow, parseMetricsRow, type RunView } from '@weft/contracts';
import type { RunState } from '@weft/coordination';
import { Home, isMissing } from '@weft/files';
import { readLogFile } from '@weft/store';
import { eventsFile, type LogOf, logsInFiles, noSuchRun } from './run-logs.js';
import { readRunState } from './run-state-file.js';

/** How much of the end of `metrics.jsonl` is read for its last lines. */
const TAIL_BYTES = 64 * 1024;

/** A run of this home whose files cannot be read. */
export interface UnreadableRun {
  readonly runId: string;
  readonly error: WeftError;
}

/** The ids of all runs of a home, in the order they were launched. */
export async function listRunIds(home: string): Promise<string[]> {
  const entries = await runFolders(home);
  const runIds = entries.filter((entry) => entry.isDirectory() && isRunId(entry.name)).map(({ name }) => name);
  const launched = await Promise.all(
    runIds.map(async (runId) => ({ runId, time: await launchTime(home, runId).catch(() => '') })),
  );
  return launched.toSorted((a, b) => compare(a.time, b.time) || compare(a.runId, b.runId)).map(({ runId }) => runId);
}

async function runFolders(home: string): Promise<Dirent[]> {
  try {
    return await readdir(new Home(home).runsDirectory, { withFileTypes: true });
  } catch (thrown) {
    // Not `isMissing`: a file in the place of the folder is an error.
    if (systemErrorCode(thrown) === 'ENOENT') return [];
    throw thrown;
  }
}

/** The time of the first line of its log; when the log is in Redis, the age of its directory. */
async function launchTime(home: string, runId: string): Promise<string> {
  try {
    for await (const { record } of readLogFile(eventsFile(home, runId))) return timeOf(record);
    return '';
  } catch (thrown) {
    if (!WeftError.is(thrown, 'not_found')) throw thrown;
    return (await stat(new Home(home).runDirectory(runId))).birthtime.toISOString();
  }
}

/** Of a record; it is parsed where it is used, for that needs more than a time. */
function timeOf(record: unknown): string {
  const time = typeof record === 'object' && record !== null && 'time' in record ? record.time : undefined;
  return typeof time === 'string' ? time : '';
}

/**
 * A run as its log describes it, for use while no coordinator lives: a run that has not ended is `interrupted`.
 *
 * @throws WeftError `not_found` when the home has no such run, `corrupt_data` when its log cannot be replayed.
 */
export async function readRun(home: string, runId: string, logOf?: LogOf): Promise<RunView> {
  const { config, status, reason, failure, ...state } = await runState(home, runId, logOf);
  const isInterrupted = !hasEnded({ status });
  return {
    runId,
    recipe: config.recipe,
    status: isInterrupted ? 'interrupted' : status,
    reason: isInterrupted ? `it was ${status} when its coordinator ended` : reason,
    step: state.step,
    steps: config.steps,
    workers: config.workers,
    worldSize: 0,
    generation: state.generation,
    checkpointStep: state.checkpointStep,
    directory: new Home(home).runDirectory(runId),
    createdAtMs: state.createdAtMs,
    updatedAtMs: state.updatedAtMs,
    priority: config.queue.priority,
    queuePosition: null,
    expectedStartMs: null,
    parent: state.parent,
    loss: state.loss,
    failure: failure ?? null,
    failedAttempts: state.failedAttempts,
    maxAttempts: config.queue.maxAttempts,
  };
}

function runState(home: string, runId: string, logOf: LogOf = logsInFiles(home)): Promise<RunState> {
  return readRunState(new Home(home), runId, logOf(runId)).catch(noSuchRun(home, runId));
}

/** Every run of a home. Those that cannot be read are listed apart. */
export async function readRuns(home: string, logOf?: LogOf): Promise<{ runs: RunView[]; unreadable: UnreadableRun[] }> {
  const runs: RunView[] = [];
  const unreadable: UnreadableRun[] = [];
  for (const runId of await listRunIds(home)) {
    try {
      runs.push(await readRun(home, runId, logOf));
    } catch (thrown) {
      unreadable.push({ runId, error: WeftError.from(thrown) });
    }
  }
  return { runs, unreadable };
}

/** The metrics of every step, or with `onlyTail` of the last ones. */
export async function readMetrics(directory: string, { onlyTail }: { onlyTail: boolean }): Promise<MetricsRow[]> {
  const file = await open(join(directory, 'metrics.jsonl')).catch((thrown: unknown) => {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  });
  if (file === undefined) return [];
  try {
    const { size } = await file.stat();
    const start = onlyTail ? Math.max(0, size - TAIL_BYTES) : 0;
    const { buffer } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    const lines = buffer.toString('utf8').split('\n');
    // The first line of a tail may be incomplete; the parser then rejects it.
    return lines.flatMap((line) => parseMetricsRow(line) ?? []);
  } finally {
    await file.close();
  }
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
