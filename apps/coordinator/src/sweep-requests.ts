import { type Clock, isRunId, newRunId, type Random, WEFT_VERSION, WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { hasEnded } from '@weft/contracts';
import { createRunJob, jobOwner, sweepJobId } from '@weft/coordination';
import {
  type FinishSweepRequest,
  type GetSweepRequest,
  type LaunchSweepRequest,
  type ListSweepsResponse,
  type RunSummary,
  SweepState,
  type SweepSummary,
} from '@weft/proto';
import type { Job, JobQueue, NewJob } from '@weft/store';
import { childRunId } from '@weft/sweeps';
import type { DecisionQueue } from './decision-queue.js';
import { newRunJob, queueListing } from './queue-jobs.js';
import { parseJson, refuseOtherVersion } from './request-parsing.js';

/** A sweep with all its runs must fit into one message. */
const MOST_CHILDREN = 1000;

interface SweepRequestsOptions {
  readonly queue: DecisionQueue;
  readonly jobs: JobQueue;
  readonly clock: Clock;
  readonly random: Random;
  /** @throws `unavailable` while the store does not answer. */
  readonly requireStore: () => void;
  readonly summaryOf: (runId: string) => RunSummary;
  /** Called when a sweep is in the queue with all its children. */
  readonly onLaunched: (sweep: SweepSummary) => void;
}

/** Requests about sweeps. A sweep is a parent job in the queue; its children are ordinary runs with logs of their own. */
export class SweepRequests {
  readonly #options: SweepRequestsOptions;
  /** Current launches by sweep id: a second request for the same sweep waits for the first. */
  readonly #launching = new Map<string, Promise<SweepSummary>>();

  constructor(options: SweepRequestsOptions) {
    this.#options = options;
  }

  /**
   * Adds the parent and its children to the queue, all or none; then each child gets its log. When a coordinator dies in
   * between, the next one finds jobs without a log, and `recoverSweeps` completes the launch.
   *
   * @throws WeftError `invalid_argument` for an invalid configuration, or no child.
   */
  async launch(request: LaunchSweepRequest): Promise<SweepSummary> {
    const { clock, random, requireStore } = this.#options;
    refuseOtherVersion(request.clientVersion, 'the client');
    requireStore();
    const sweepId = request.sweepId === '' ? newRunId('sweep', clock.nowMs(), random) : checkSweepId(request.sweepId);
    const underWay = this.#launching.get(sweepId);
    if (underWay !== undefined) return underWay;
    const launching = this.#launch(sweepId, request).finally(() => this.#launching.delete(sweepId));
    this.#launching.set(sweepId, launching);
    return launching;
  }

  async #launch(sweepId: string, request: LaunchSweepRequest): Promise<SweepSummary> {
    const { jobs, queue } = this.#options;
    if ((await this.#find(sweepId)) !== undefined) return this.get({ sweepId });
    const configs = parseChildren(request);
    const parent: NewJob = {
      id: sweepJobId(sweepId),
      kind: 'sweep',
      data: { sweep: parseJson(request.sweepJson, 'the sweep') },
    };
    const children = configs.map((config, index) => ({ runId: childRunId(sweepId, index, configs.length), config }));
    const childJobs = children.map(({ runId, config }) =>
      newRunJob(createRunJob({ runId, config, resubmissions: 0 }), { config, weftVersion: WEFT_VERSION }),
    );
    await queue.submitWith(async () => {
      await jobs.addFlow(parent, childJobs);
      return queueListing(jobs);
    });
    for (const { runId, config } of children)
      await queue.submit({ kind: 'launch', runId, config, weftVersion: WEFT_VERSION, parent: sweepId });
    const launched = await this.get({ sweepId });
    this.#options.onLaunched(launched);
    return launched;
  }

  /** @throws `not_found`. */
  async get({ sweepId }: GetSweepRequest): Promise<SweepSummary> {
    const job = await this.#find(sweepId);
    if (job === undefined)
      throw new WeftError('not_found', `there is no sweep ${JSON.stringify(sweepId)}`, { hint: 'see `weft queue`' });
    const summary = this.#summary(job);
    const { runs } = this.#options.queue.state;
    const children = job.children.map(jobOwner).filter((runId) => runs.has(runId));
    return { ...summary, children: children.map((runId) => this.#options.summaryOf(runId)) };
  }

  /** All sweeps in the queue and among its ended jobs, those that have not ended first. */
  async list(): Promise<ListSweepsResponse> {
    const jobs = await this.#options.jobs.list();
    return { sweeps: jobs.filter(({ kind }) => kind === 'sweep').map((job) => this.#summary(job)) };
  }

  /** @throws `not_found`, `failed_precondition` when not all children have ended or it was cancelled. */
  async finish({ sweepId, resultJson }: FinishSweepRequest): Promise<SweepSummary> {
    const { jobs, queue, requireStore } = this.#options;
    requireStore();
    const result = parseJson(resultJson, 'the result of the sweep');
    const { state, childrenEnded, childrenTotal } = await this.get({ sweepId });
    if (state === SweepState.SWEEP_STATE_FINISHED) return this.get({ sweepId });
    if (state === SweepState.SWEEP_STATE_CANCELLED)
      throw new WeftError('failed_precondition', `sweep ${sweepId} was cancelled`);
    if (state !== SweepState.SWEEP_STATE_READY)
      throw new WeftError(
        'failed_precondition',
        `${childrenTotal - childrenEnded} of ${childrenTotal} runs of sweep ${sweepId} have not ended`,
        { hint: 'wait for them, or end them with `weft stop`' },
      );
    await queue.submitWith(async () => {
      const id = sweepJobId(sweepId);
      if ((await jobs.get(id)).state !== 'active') await jobs.take(id);
      await jobs.complete(id, result);
      return queueListing(jobs);
    });
    return this.get({ sweepId });
  }

  async #find(sweepId: string): Promise<Job | undefined> {
    return this.#options.jobs.get(sweepJobId(sweepId)).catch((thrown: unknown) => {
      if (WeftError.is(thrown, 'not_found')) return undefined;
      throw thrown;
    });
  }

  #summary(job: Job): SweepSummary {
    const { runs } = this.#options.queue.state;
    const ended = job.children.filter((id) => {
      const run = runs.get(jobOwner(id));
      return run !== undefined && hasEnded(run.state);
    });
    const isReady = ended.length === job.children.length;
    return {
      sweepId: jobOwner(job.id),
      state: sweepState(job, isReady),
      sweepJson: JSON.stringify(storedSweep(job.data)),
      resultJson: job.result === null ? '' : JSON.stringify(job.result),
      children: [],
      createdAtMs: job.addedAtMs,
      childrenEnded: ended.length,
      childrenTotal: job.children.length,
    };
  }
}

function sweepState({ state }: Job, isReady: boolean): SweepState {
  if (state === 'completed') return SweepState.SWEEP_STATE_FINISHED;
  if (state === 'cancelled' || state === 'failed') return SweepState.SWEEP_STATE_CANCELLED;
  return isReady ? SweepState.SWEEP_STATE_READY : SweepState.SWEEP_STATE_RUNNING;
}

function storedSweep(data: unknown): unknown {
  return typeof data === 'object' && data !== null && 'sweep' in data ? data.sweep : null;
}

function parseChildren({ childrenConfigJson }: LaunchSweepRequest): readonly RunConfig[] {
  const count = childrenConfigJson.length;
  if (count === 0 || count > MOST_CHILDREN)
    throw new WeftError('invalid_argument', `a sweep must have 1 to ${MOST_CHILDREN} runs, not ${count}`);
  return childrenConfigJson.map((json, index) =>
    resolveRunConfig(parseJson(json, `run ${index + 1} of the sweep`), `run ${index + 1} of the sweep`),
  );
}

function checkSweepId(sweepId: string): string {
  if (isRunId(sweepId) && sweepId.length <= 80) return sweepId;
  throw new WeftError('invalid_argument', `${JSON.stringify(sweepId)} cannot be the id of a sweep`, {
    hint: 'use up to 80 lower-case letters, digits and single dashes',
  });
}
