import type { MetricsRow, RunView } from '@weft/contracts';
import type { CoordinatorClient } from '../runs/coordinator-client.js';
import { readMetrics } from '../runs/run-files.js';

/** How long a coordinator may take to send the metrics of a run. */
const PATIENCE_MS = 5000;

/** The metrics of every step so far: from the run's file where it can be read, else from the coordinator. */
export async function allMetrics(run: RunView, client: CoordinatorClient): Promise<MetricsRow[]> {
  const fromFile = await readMetrics(run.directory, { onlyTail: false }).catch(() => []);
  if (fromFile.length > 0) return fromFile;
  const received: MetricsRow[] = [];
  for await (const news of client.watch(run.runId, 0, AbortSignal.timeout(PATIENCE_MS))) {
    if (news.kind === 'metrics') received.push(news.metrics);
    if ((received.at(-1)?.step ?? 0) >= run.step) break;
  }
  return received;
}
