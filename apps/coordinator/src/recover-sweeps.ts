import { WEFT_VERSION, WeftError } from '@weft/common';
import { resolveRunConfig } from '@weft/config';
import { jobOwner } from '@weft/coordination';
import type { Job } from '@weft/store';
import type { Logger } from '@weft/telemetry';
import type { DecisionQueue } from './decision-queue.js';
import { hasJobEnded } from './queue-jobs.js';

/**
 * Launches the children of sweeps that are in the queue without a log: the coordinator that put them there died before
 * it could write it.
 */
export async function recoverSweeps(queue: DecisionQueue, jobs: readonly Job[], log: Logger): Promise<void> {
  for (const job of jobs) {
    const runId = jobOwner(job.id);
    if (job.kind !== 'run' || job.parent === null || hasJobEnded(job) || queue.state.runs.has(runId)) continue;
    try {
      const config = resolveRunConfig(jobConfig(job.data), `job ${job.id}`);
      const parent = jobOwner(job.parent);
      await queue.submit({ kind: 'launch', runId, config, weftVersion: WEFT_VERSION, parent });
    } catch (thrown) {
      const error = WeftError.from(thrown);
      log.error({ error, runId }, `run ${runId} of sweep ${jobOwner(job.parent)} is left out: ${error.sentence}`);
    }
  }
}

function jobConfig(data: unknown): unknown {
  return typeof data === 'object' && data !== null && 'config' in data ? data.config : undefined;
}
