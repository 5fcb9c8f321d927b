import { WEFT_VERSION } from '@weft/common';
import {
  hasEnded,
  MOST_RUNS,
  type PageOverview,
  type PageRun,
  type PageWorker,
  type RunView,
  runViewFromProto,
} from '@weft/contracts';
import { type ClusterState, type ConnectedWorker, rankOf } from '@weft/coordination';
import { consumedBy, scheduleOf, sharesBy, stretchOfStep } from '@weft/mixture';
import type { Coordinator } from '../coordinator.js';

/** Everything that lives now, as the page shows it. */
export function overviewOf(coordinator: Coordinator): PageOverview {
  const { state } = coordinator;
  const { store, storeError } = coordinator.runs.cluster();
  const nowMs = coordinator.nowMs();
  return {
    version: WEFT_VERSION,
    store,
    storeError: storeError === '' ? null : storeError,
    nowMs,
    isQueuePaused: state.queue.isPaused,
    queue: state.queue.jobs.map(({ kind, runId, state: jobState }) => ({ id: runId, kind, state: jobState })),
    runs: shownRuns(coordinator),
    runCount: state.runs.size,
    workers: state.workers.values().map((worker) => describeWorker(state, worker, coordinator.silentSeconds(worker))),
  };
}

/** All that have not ended, and the newest of the others. */
function shownRuns(coordinator: Coordinator): RunView[] {
  const newestFirst = [...coordinator.state.runs.values()].reverse();
  const chosen = newestFirst.filter(({ state }, at) => at < MOST_RUNS || !hasEnded(state));
  return chosen.map(({ state }) => runViewFromProto(coordinator.runs.get(state.runId)));
}

function describeWorker({ runs }: ClusterState, worker: ConnectedWorker, silentSeconds: number): PageWorker {
  const { workerId, hostName, processId, device, role, runId } = worker;
  const live = runs.get(runId ?? '')?.live;
  const members = live?.state === 'training' ? (role === 'rank' ? live.members : live.experts) : [];
  const rank = rankOf(members, workerId);
  return {
    workerId,
    hostName,
    processId,
    device,
    role,
    runId: runId ?? null,
    rank: rank < 0 ? null : rank,
    hasVoted: live?.state === 'training' && role === 'rank' && rank >= 0 ? live.votes.has(rank) : null,
    silentSeconds: Math.round(silentSeconds),
  };
}

/** One run. @throws WeftError `not_found` */
export function describePageRun(coordinator: Coordinator, runId: string): PageRun {
  const run = runViewFromProto(coordinator.runs.get(runId));
  const { config, checkpoints } = coordinator.state.runs.get(runId)!.state;
  const { globalBatchSize, data } = config;
  const schedule = scheduleOf(config);
  const mixture = {
    consumed: consumedBy(schedule, globalBatchSize, run.step, data.skippedBatches),
    shares: sharesBy(schedule, globalBatchSize, run.step, data.skippedBatches),
    weights: stretchOfStep(schedule, globalBatchSize, run.step + 1, data.skippedBatches).weights,
  };
  return { run, config, checkpoints, mixture };
}
