import { scheduleOf, skippedData } from '@weft/mixture';
import { batchOfStep } from '@weft/topology';
import type { DecisionBuilder } from './decision-builder.js';
import { describeSpike, type Spike } from './divergence.js';
import { lookForCheckpoint } from './find-checkpoint.js';
import type { RunState } from './run-state.js';
import { detachWorkers } from './run-termination.js';

/** A run that diverges again and again at about the same step does not do so because of its data. */
const MOST_ROLLBACKS = 3;

/** Whether a run that diverges may go back once more; one that is about to stop is left to stop. */
export function mayRollBack({ config, rolledBack, status }: RunState): boolean {
  const { policy } = config.divergence;
  return policy === 'rollback' && status === 'running' && (rolledBack?.times ?? 0) < MOST_ROLLBACKS;
}

/**
 * Takes a run that has diverged back before the spike, for all ranks at once: the steps since are void, and what the spike
 * consumed is never consumed again. Its members drop their state, and it waits for the checkpoint.
 *
 * @param since the first step of the spike
 * @param spike of the last step; undefined where its gradients were not finite
 */
export function rollBack(builder: DecisionBuilder, state: RunState, since: number, spike: Spike | undefined): string {
  const { runId, step, config } = state;
  const toStep = stepBefore(state, since);
  const { skippedBatches } = config.data;
  const batches = { first: batchOfStep(since, skippedBatches), end: batchOfStep(step, skippedBatches) + 1 };
  const skipped = skippedData(scheduleOf(config), config.globalBatchSize, batches);
  const what = spike === undefined ? `the gradients were not finite up to step ${step}` : describeSpike(spike, step);
  const { firstSequence, endSequence } = skipped;
  const back = toStep === 0 ? 'it goes back to its beginning' : `it goes back to the checkpoint of step ${toStep}`;
  const reason = `it has diverged since step ${since}: ${what}; ${back}, and the sequences ${firstSequence} to ${endSequence - 1} of these steps are skipped`;
  detachWorkers(builder, runId, reason);
  const because = spike === undefined ? {} : { spike };
  const after = builder.record(runId, { kind: 'rolledBack', step, since, toStep, skipped, ...because, reason });
  const sinceMs = builder.nowMs;
  const reservedUntilMs = sinceMs + builder.timeouts.reservationMs;
  builder.setLive(runId, { state: 'waiting', sinceMs, startState: undefined, reservedUntilMs });
  builder.queue.requeue(runId);
  builder.command({ kind: 'writeConfig', runId, config: after.config });
  builder.command(lookForCheckpoint(state, toStep));
  builder.command({ kind: 'notify', runId, sentence: reason });
  return `run ${runId}: ${reason}`;
}

/**
 * The step of the newest checkpoint that lies `rollbackSteps` before the spike; where all are later, of the oldest one before
 * it; without any, the beginning of the run.
 */
function stepBefore({ checkpoints, config }: RunState, since: number): number {
  const before = checkpoints.filter(({ step }) => step < since);
  const wanted = before.findLast(({ step }) => step <= since - 1 - config.divergence.rollbackSteps);
  return (wanted ?? before[0])?.step ?? 0;
}
