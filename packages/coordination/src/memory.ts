import { plural, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { Shortage } from '@weft/contracts';
import { type ConnectedWorker, fitsAll, type Role } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { WorkerCounts } from './run-state.js';
import { requiredWorkers } from './scheduling.js';

/** Those of the workers that may hold the run. */
export function withMemoryFor(
  { shortageOf }: DecisionBuilder,
  config: RunConfig,
  workers: readonly ConnectedWorker[],
): readonly ConnectedWorker[] {
  return workers.filter((worker) => shortageOf(config, worker) === undefined);
}

/**
 * Refuses a run that the connected workers cannot hold. With too few of them it queues: others may come.
 * @throws WeftError `failed_precondition`
 */
export function refuseShortage(builder: DecisionBuilder, config: RunConfig, required: WorkerCounts): void {
  const shortage = findShortage(builder, config, required);
  if (shortage === undefined) return;
  throw new WeftError('failed_precondition', `the run does not fit: ${shortage.message}`, { hint: shortage.hint });
}

/** Looks again which queued runs the connected workers cannot hold. */
export function updateShortages(builder: DecisionBuilder): void {
  if (builder.shortageOf === fitsAll) return;
  for (const { runId, state: jobState } of builder.queue.state.jobs) {
    const run = jobState === 'active' ? undefined : builder.findRun(runId);
    if (run?.live.state !== 'waiting') continue;
    const { state, live } = run;
    const required = requiredWorkers({ state, live }, builder.nowMs, builder.timeouts);
    const shortage = findShortage(builder, state.config, required);
    if (shortage?.message !== live.shortage?.message) builder.setLive(runId, { ...live, shortage });
  }
}

/** Undefined also where too few workers are connected for any run of this size. */
function findShortage(builder: DecisionBuilder, config: RunConfig, required: WorkerCounts): Shortage | undefined {
  return (
    shortageOfRole(builder, config, 'rank', required.workers) ??
    shortageOfRole(builder, config, 'expertWorker', required.expertWorkers)
  );
}

function shortageOfRole(
  builder: DecisionBuilder,
  config: RunConfig,
  role: Role,
  required: number,
): Shortage | undefined {
  if (builder.workers.count(`connected/${role}`) < required) return undefined;
  const connected = builder.workers.group(`connected/${role}`);
  let count = 0;
  // As a rule all of them have it, and the first ones are enough to know.
  for (const worker of connected)
    if (builder.shortageOf(config, worker) === undefined && ++count === required) return undefined;
  const able = withMemoryFor(builder, config, connected);
  if (able.length >= required) return undefined;
  const small = connected.find((worker) => !able.includes(worker));
  const shortage = small === undefined ? undefined : builder.shortageOf(config, small);
  if (small === undefined || shortage === undefined) return undefined;
  const kind = role === 'rank' ? 'worker' : 'expert worker';
  const others = able.length === 0 ? '' : `, and of ${plural(connected.length, kind)} only ${able.length} can hold it`;
  return {
    message: `${kind} ${small.workerId} on ${small.hostName} has ${shortage.message}${others}`,
    hint: shortage.hint,
  };
}
