import { join } from 'node:path';
import type { PerSource } from '@weft/common';
import { type MetricsRow, parseRunGoodput, type RunGoodput, type RunView } from '@weft/contracts';
import { readJsonFile } from '@weft/files';
import { MetricsColumns } from './metrics-columns.js';
import { readMetrics } from './run-files.js';
import { RunProgress } from './run-progress.js';
import type { RunsClient } from './runs-client.js';

/** How many of the last rows to ask a coordinator for. */
const RECENT_STEPS = 20;
/** How long a coordinator may take to send recent rows, and all of them. */
const RECENT_TIMEOUT_MS = 2000;
const ALL_TIMEOUT_MS = 5000;

/**
 * The progress of a run, for a summary: from its file if that can be read here, else from the last rows that the coordinator
 * has. Of a long run not every row is read.
 */
export async function readProgress(run: RunView, client: RunsClient | undefined): Promise<RunProgress> {
  const progress = new RunProgress(run);
  const known = await readHistory(run.directory).catch(() => undefined);
  if (known !== undefined) progress.addHistory(known.rows, known.sequences);
  if (progress.metrics.length > 0 || client === undefined || run.step === 0) return progress;
  const recent = await receiveMetrics(client, run, Math.max(0, run.step - RECENT_STEPS), RECENT_TIMEOUT_MS);
  for (const row of recent) progress.addStep(row);
  return progress;
}

/** Where the time of a run went: as its coordinator knows it, else as the last one wrote it; undefined when nobody did. */
export async function readGoodput(run: RunView, client: RunsClient | undefined): Promise<RunGoodput | undefined> {
  if (client !== undefined) return client.goodput(run.runId);
  return readJsonFile(join(run.directory, 'goodput.json')).then(parseRunGoodput, () => undefined);
}

/** How many rows of a run are read: all of a run that is not longer. Of another the first and last ones and some between. */
const ALL_STEPS = 1000;
const FIRST_STEPS = 5;
const LAST_STEPS = 50;
const STEPS_BETWEEN = 200;

/** The rows that a summary needs, and the sequences of all rows. */
async function readHistory(directory: string): Promise<{ rows: readonly MetricsRow[]; sequences: PerSource<number> }> {
  const columns = await MetricsColumns.open(directory);
  const { lastStep } = columns;
  const sequences: Record<string, number> = {};
  for (const name of columns.names) {
    if (!name.startsWith('sequences.')) continue;
    const counts = await columns.read(name, 1, lastStep);
    sequences[name.slice('sequences.'.length)] = counts.reduce((sum, each) => sum + (each || 0), 0);
  }
  if (lastStep <= ALL_STEPS) return { rows: await columns.rowsBetween(1, lastStep), sequences };
  const between = Array.from({ length: STEPS_BETWEEN }, (_, at) => Math.ceil(((at + 1) * lastStep) / STEPS_BETWEEN));
  const measured = await Promise.all(columns.names.filter(isRare).map((name) => lastStepOf(columns, name)));
  const steps = new Set([
    ...range(1, FIRST_STEPS),
    ...between,
    ...measured.flat(),
    ...range(lastStep - LAST_STEPS, lastStep),
  ]);
  return { rows: await columns.rows([...steps].sort((a, b) => a - b)), sequences };
}

/** Curves with a value in few steps, of which a summary shows the last one. */
const isRare = (name: string) => name === 'heldOut' || name.startsWith('score.');

async function lastStepOf(columns: MetricsColumns, name: string): Promise<number[]> {
  const values = await columns.read(name, 1, columns.lastStep);
  const at = values.findLastIndex((value) => !Number.isNaN(value));
  return at < 0 ? [] : [at + 1];
}

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, at) => first + at);

/** The rows of every step so far: from the run's file if it can be read here, else from the coordinator. */
export async function readAllMetrics(run: RunView, client: RunsClient): Promise<MetricsRow[]> {
  const fromFile = await readMetrics(run.directory, { onlyTail: false }).catch(() => []);
  return fromFile.length > 0 ? fromFile : receiveMetrics(client, run, 0, ALL_TIMEOUT_MS);
}

/** The rows after a step up to the run's last one, of which the coordinator may lack some: those that come in time. */
async function receiveMetrics(
  client: RunsClient,
  { runId, step }: RunView,
  afterStep: number,
  timeoutMs: number,
): Promise<MetricsRow[]> {
  const rows: MetricsRow[] = [];
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    for await (const update of client.watch(runId, afterStep, timeout)) {
      if (update.kind === 'metrics') rows.push(update.metrics);
      if ((rows.at(-1)?.step ?? 0) >= step) break;
    }
  } catch (thrown) {
    if (!timeout.aborted) throw thrown;
  }
  return rows;
}
