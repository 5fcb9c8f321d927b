import type { MetricsRow, RunView } from '@weft/contracts';
import type { CoordinatorClient } from './coordinator-client.js';
import { readMetrics } from './run-files.js';

/** Steps asked of a coordinator whose files are not ours. */
const RECENT_STEPS = 20;
/** How long a coordinator may take to send them. */
const PATIENCE_MS = 2000;

/** The metrics of a run: all of them where its files can be read, the last ones where a coordinator must send them. */
export async function recentMetrics(run: RunView, client: CoordinatorClient | undefined): Promise<MetricsRow[]> {
  const fromFile = await readMetrics(run.directory, { onlyTail: false }).catch(() => []);
  if (fromFile.length > 0 || client === undefined || run.step === 0) return fromFile;
  const received: MetricsRow[] = [];
  const signal = AbortSignal.timeout(PATIENCE_MS);
  for await (const news of client.watch(run.runId, Math.max(0, run.step - RECENT_STEPS), signal)) {
    if (news.kind === 'metrics') received.push(news.metrics);
    if (received.at(-1)?.step === run.step) break;
  }
  return received;
}
