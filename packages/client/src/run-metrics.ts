import type { MetricsRow, RunView } from '@weft/contracts';
import { readMetrics } from './run-files.js';
import type { RunsClient } from './runs-client.js';

/** How many of the last rows to ask a coordinator for. */
const RECENT_STEPS = 20;
/** How long a coordinator may take to send recent rows, and all of them. */
const RECENT_TIMEOUT_MS = 2000;
const ALL_TIMEOUT_MS = 5000;

/** The rows of a run for a summary: all if its file can be read here, else the last ones from the coordinator. */
export async function readRecentMetrics(run: RunView, client: RunsClient | undefined): Promise<MetricsRow[]> {
  const fromFile = await readMetrics(run.directory, { onlyTail: false }).catch(() => []);
  if (fromFile.length > 0 || client === undefined || run.step === 0) return fromFile;
  return receiveMetrics(client, run, Math.max(0, run.step - RECENT_STEPS), RECENT_TIMEOUT_MS);
}

/** The rows of every step so far: from the run's file if it can be read here, else from the coordinator. */
export async function readAllMetrics(run: RunView, client: RunsClient): Promise<MetricsRow[]> {
  const fromFile = await readMetrics(run.directory, { onlyTail: false }).catch(() => []);
  return fromFile.length > 0 ? fromFile : receiveMetrics(client, run, 0, ALL_TIMEOUT_MS);
}

/** The rows after a step up to the run's last one. */
async function receiveMetrics(
  client: RunsClient,
  { runId, step }: RunView,
  afterStep: number,
  timeoutMs: number,
): Promise<MetricsRow[]> {
  const rows: MetricsRow[] = [];
  for await (const update of client.watch(runId, afterStep, AbortSignal.timeout(timeoutMs))) {
    if (update.kind === 'metrics') rows.push(update.metrics);
    if ((rows.at(-1)?.step ?? 0) >= step) break;
  }
  return rows;
}
