import { type Clock, newRunId, type Random, WEFT_VERSION, WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { hasEnded, runViewToProto } from '@weft/contracts';
import { describeRun, type FoundCheckpoint, lookForCheckpoint, type RunDescription, rankOf } from '@weft/coordination';
import type {
  ChangeMixtureRequest,
  ClusterSummary,
  GetRequest,
  LaunchRequest,
  ListRequest,
  ListResponse,
  LogLine,
  ReadLogRequest,
  ResumeRequest,
  RunSummary,
  RunUpdate,
  StopRequest,
  WatchRequest,
} from '@weft/proto';
import type { Store } from '@weft/store';
import type { DecisionQueue } from './decision-queue.js';
import { describeStoreError } from './leased-store.js';
import { paginate, parseJson, refuseOtherVersion } from './request-parsing.js';
import type { RunFiles } from './run-files.js';
import { Watcher, type Watchers } from './watchers.js';

interface RunRequestsOptions {
  readonly queue: DecisionQueue;
  readonly watchers: Watchers;
  readonly filesOf: (runId: string) => RunFiles;
  readonly clock: Clock;
  /** Makes run ids. */
  readonly random: Random;
  readonly store: Store;
  /** Aborts when the coordinator closes. */
  readonly closing: AbortSignal;
}

/** Whether a configuration can be wrong in what only the parameters of its model tell. */
function needsModel({ initFrom, optimizer }: RunConfig): boolean {
  return initFrom !== null || Object.keys(optimizer.learningRateFactors).length > 0;
}

/** The requests about runs and the cluster. */
export class RunRequests {
  readonly #options: RunRequestsOptions;

  constructor(options: RunRequestsOptions) {
    this.#options = options;
  }

  /**
   * @throws WeftError `invalid_argument` for a wrong configuration, or checkpoints that its model cannot begin from;
   *         `not_found` where it is to begin after a run that does not exist;
   *         `version_mismatch` for a client of another version
   */
  async launch({ configJson, clientVersion }: LaunchRequest): Promise<RunSummary> {
    refuseOtherVersion(clientVersion, 'the client');
    this.requireStore();
    const { clock, queue, random } = this.#options;
    const name = 'the launched configuration';
    const config = resolveRunConfig(parseJson(configJson, name), name);
    const missing = config.queue.after.find((runId) => !queue.state.runs.has(runId));
    if (missing !== undefined)
      throw new WeftError('not_found', `queue.after names the run ${JSON.stringify(missing)}, which does not exist`, {
        hint: 'list the runs with `weft ls`',
      });
    // Loaded when it is needed: it knows the model, which a coordinator needs for nothing else.
    if (needsModel(config)) await (await import('@weft/tasks')).checkRun(config);
    for (;;) {
      const runId = newRunId(config.recipe, clock.nowMs(), random);
      try {
        await queue.submit({ kind: 'launch', runId, config, weftVersion: WEFT_VERSION });
        return this.get(runId);
      } catch (thrown) {
        // The four random characters of a run id may collide with another launch of the same minute.
        if (!WeftError.is(thrown, 'already_exists')) throw thrown;
      }
    }
  }

  /** @throws WeftError `not_found` for an unknown run or checkpoint; the refusal of `decide`. */
  async resume(request: ResumeRequest): Promise<RunSummary> {
    this.requireStore();
    const { runId } = request;
    const workers = request.workers === 0 ? undefined : request.workers;
    const steps = request.steps === 0 ? undefined : request.steps;
    const { expertWorkers, fromStep, settings } = request;
    const found = await this.#findCheckpoint(runId, fromStep);
    await this.#options.queue.submit({
      kind: 'resume',
      runId,
      workers,
      steps,
      expertWorkers,
      settings,
      fromStep,
      found,
    });
    return this.get(runId);
  }

  /** @throws `not_found`, or `failed_precondition` when it has ended. */
  async stop({ runId, saveCheckpoint }: StopRequest): Promise<RunSummary> {
    this.requireStore();
    await this.#options.queue.submit({ kind: 'stop', runId, saveCheckpoint });
    return this.get(runId);
  }

  /** @throws WeftError `not_found` for an unknown run; the refusal of `decide`. */
  async changeMixture(request: ChangeMixtureRequest): Promise<RunSummary> {
    this.requireStore();
    const { runId, fromStep, weights, reason } = request;
    const indexVersion = request.indexVersion === 0 ? undefined : request.indexVersion;
    await this.#options.queue.submit({ kind: 'changeMixture', runId, fromStep, weights, indexVersion, reason });
    return this.get(runId);
  }

  /** Saves a checkpoint after the current step. @throws `not_found`, or `failed_precondition` when it does not train. */
  async saveCheckpoint({ runId }: GetRequest): Promise<RunSummary> {
    this.requireStore();
    await this.#options.queue.submit({ kind: 'saveCheckpoint', runId });
    return this.get(runId);
  }

  /** @throws `not_found`. */
  get(runId: string): RunSummary {
    const { filesOf, queue } = this.#options;
    const view = describeRun(queue.state, runId);
    if (view !== undefined)
      return runViewToProto({ ...this.#withStoreError(view), directory: filesOf(runId).directory });
    throw new WeftError('not_found', `there is no run ${JSON.stringify(runId)}`, {
      hint: 'list the runs with `weft ls`',
    });
  }

  /** A page of all runs, in the order they were launched. */
  list({ pageToken }: ListRequest = {}): ListResponse {
    const runIds = [...this.#options.queue.state.runs.keys()];
    const { page, nextPageToken } = paginate(runIds, (runId) => runId, pageToken);
    return { runs: page.map((runId) => this.get(runId)), nextPageToken };
  }

  /**
   * The run as it is, the metrics asked for, then everything new until the run ends or `signal` aborts.
   *
   * @throws `not_found`.
   */
  async *watch({ runId, afterStep }: WatchRequest, signal?: AbortSignal): AsyncGenerator<RunUpdate, void, undefined> {
    const { closing, filesOf, queue, watchers } = this.#options;
    const watcher = new Watcher();
    const leave = () => watchers.remove(runId, watcher);
    signal?.addEventListener('abort', leave, { once: true });
    // Between two events, so no row is sent twice or left out.
    await queue.runExclusive(async () => {
      watcher.push({ body: { $case: 'summary', summary: this.get(runId) } });
      const rows = afterStep === undefined ? [] : await filesOf(runId).rowsAfter(afterStep);
      for (const row of rows) watcher.push({ body: { $case: 'metricsJson', metricsJson: JSON.stringify(row) } });
      const state = queue.state.runs.get(runId)?.state;
      if (signal?.aborted || closing.aborted || state === undefined || hasEnded(state)) watcher.end();
      else watchers.add(runId, watcher);
    });
    try {
      yield* watcher;
    } finally {
      leave();
      signal?.removeEventListener('abort', leave);
    }
  }

  cluster(): ClusterSummary {
    const { queue, store } = this.#options;
    const { runs, workers } = queue.state;
    return {
      coordinatorVersion: WEFT_VERSION,
      store: store.description,
      storeError: describeStoreError(store) ?? '',
      workers: workers.values().map(({ workerId, hostName, device, runId = '' }) => {
        const live = runs.get(runId)?.live;
        const rank = live?.state === 'training' ? Math.max(0, rankOf(live.members, workerId)) : 0;
        return { workerId, hostName, device, runId, rank };
      }),
    };
  }

  /** The lines of a run's log, as it is now. @throws `not_found`. */
  async *readLog({ runId, fromSequence }: ReadLogRequest): AsyncGenerator<LogLine, void, undefined> {
    this.get(runId);
    const lines = this.#options.store.log(runId).read(Math.max(1, fromSequence));
    for await (const { sequence, record } of lines) yield { sequence, recordJson: JSON.stringify(record) };
  }

  /** Refuses requests that would wait for a store that does not answer. @throws WeftError `unavailable`. */
  requireStore(): void {
    const storeError = describeStoreError(this.#options.store);
    if (storeError !== undefined) throw new WeftError('unavailable', storeError, { hint: 'try again when it is back' });
  }

  /** Adds the reason why nothing goes on while the store does not answer. */
  #withStoreError(view: RunDescription): RunDescription {
    const storeError = describeStoreError(this.#options.store);
    if (storeError === undefined || hasEnded(view)) return view;
    return { ...view, reason: `${storeError}; ${view.reason}` };
  }

  /** The checkpoint that a resume would go on from. Skipped for active runs: their workers own the files. */
  async #findCheckpoint(runId: string, fromStep: number | undefined): Promise<FoundCheckpoint> {
    const { filesOf, queue } = this.#options;
    const state = queue.state.runs.get(runId)?.state;
    if (state === undefined || state.status === 'running' || state.status === 'stopping' || fromStep === 0)
      return { checkpoint: undefined, skipped: [] };
    return fromStep === undefined
      ? filesOf(runId).findCheckpoint(lookForCheckpoint(state))
      : filesOf(runId).findCheckpointOf(fromStep, state.checkpoints);
  }
}
