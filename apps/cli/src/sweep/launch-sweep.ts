import type { RunsClient, SweepsClient } from '@weft/client';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { RunView } from '@weft/contracts';
import { parseSweepRecord, recordedRuns, type SweepPlan, type SweepRecord, sweepRecord } from '@weft/sweeps';

export interface LaunchSweepOptions {
  readonly plan: SweepPlan;
  readonly sweeps: SweepsClient;
  readonly runs: RunsClient;
  /** Makes a configuration fit for the coordinator's host. */
  readonly prepare: (config: RunConfig) => RunConfig;
}

/** A sweep under way: where the runs of its plan are. */
export interface LaunchedSweep {
  readonly record: SweepRecord;
  /** How many runs were found instead of launched. */
  readonly reused: number;
  /** The runs as they are, in the order of the plan. */
  readonly view: () => Promise<RunView[]>;
  readonly isReused: (runId: string) => boolean;
  /**
   * The result with which the coordinator closed the sweep; undefined while it has not, empty where the sweep has no run of
   * its own.
   *
   * @throws `failed_precondition` when it was cancelled.
   */
  readonly close: () => Promise<string | undefined>;
}

/**
 * Launches the runs of a plan that no sweep of this name has made yet. A plan that was launched before is found again,
 * with all its runs.
 */
export async function launchSweep({ plan, sweeps, runs, prepare }: LaunchSweepOptions): Promise<LaunchedSweep> {
  const found = (await sweeps.list()).find(({ sweepId }) => sweepId === plan.id);
  const made = found === undefined ? await runsMadeBefore(plan, sweeps) : new Map<string, string>();
  const missing = plan.runs.filter(({ key }) => !made.has(key));
  const isNew = found === undefined && missing.length > 0;
  const record = isNew
    ? parseSweepRecord(plan.id, (await launch(plan, sweeps, made, missing, prepare)).sweepJson)
    : found === undefined
      ? sweepRecord(plan, made)
      : parseSweepRecord(plan.id, (await sweeps.get(plan.id)).sweepJson);
  const hasChildren = record.runs.some(({ reusedRunId }) => reusedRunId === null);
  const view = async () => {
    const children = hasChildren ? [...(await sweeps.get(plan.id)).children] : [];
    const views: RunView[] = [];
    for (const { reusedRunId } of record.runs) {
      const child = reusedRunId === null ? children.shift() : await runs.get(reusedRunId);
      if (child !== undefined) views.push(child);
    }
    return views;
  };
  const reused = new Set(record.runs.flatMap(({ reusedRunId }) => reusedRunId ?? []));
  const close = async () => {
    if (!hasChildren) return '';
    const { state, resultJson } = await sweeps.get(plan.id);
    if (state === 'cancelled') throw new WeftError('failed_precondition', `the sweep ${plan.id} was cancelled`);
    return state === 'finished' ? resultJson : undefined;
  };
  return { record, reused: reused.size, view, isReused: (runId) => reused.has(runId), close };
}

function launch(
  plan: SweepPlan,
  sweeps: SweepsClient,
  made: ReadonlyMap<string, string>,
  missing: SweepPlan['runs'],
  prepare: (config: RunConfig) => RunConfig,
) {
  const configs = missing.map(({ config }) => JSON.stringify(prepare(config)));
  return sweeps.launch(plan.id, JSON.stringify(sweepRecord(plan, made)), configs);
}

/** The ended runs of earlier sweeps of this name, by their keys; runs that failed do not count. */
async function runsMadeBefore({ sweep }: SweepPlan, sweeps: SweepsClient): Promise<Map<string, string>> {
  const made = new Map<string, string>();
  for (const { sweepId, sweepJson } of await sweeps.list()) {
    const runs = recordedRuns(sweep.name, sweepJson);
    if (runs === undefined) continue;
    const children = [...(await sweeps.get(sweepId)).children];
    for (const { key, reusedRunId } of runs) {
      const child = reusedRunId === null ? children.shift() : undefined;
      if (child !== undefined && (child.status === 'finished' || child.status === 'stopped'))
        made.set(key, child.runId);
    }
  }
  return made;
}
