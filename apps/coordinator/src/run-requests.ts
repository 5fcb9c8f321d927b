import { type Clock, newRunId, type Random, WEFT_VERSION, WeftError } from '@weft/common';
import { resolveRunConfig } from '@weft/config';
import { hasEnded, runViewToProto } from '@weft/contracts';
import { describeRun, type FoundCheckpoint, type RunDescription } from '@weft/coordination';
import type {
  ClusterSummary,
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
import { pageOf } from './page.js';
import { parseJson } from './parse-json.js';
import { refuseOtherVersion } from './receive-hello.js';
import { findCheckpoint } from './run-checkpoints.js';
import type { RunFiles } from './run-files.js';
import { storeTrouble } from './store-trouble.js';
import { Watcher, type Watchers } from './watchers.js';

export interface RunRequestsOptions {
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

/** What people ask of a coordinator. */
export class RunRequests {
  readonly #options: RunRequestsOptions;

  constructor(options: RunRequestsOptions) {
    this.#options = options;
  }

  /** @throws `invalid_argument` for a configuration that cannot be, `version_mismatch` for a client of another version. */
  async launch({ configJson, clientVersion }: LaunchRequest): Promise<RunSummary> {
    refuseOtherVersion(clientVersion, 'the client');
    this.requireStore();
    const { clock, queue, random } = this.#options;
    const what = 'the launched configuration';
    const config = resolveRunConfig(parseJson(configJson, what), what);
    for (;;) {
      const runId = newRunId(config.recipe, clock.nowMs(), random);
      try {
        await queue.take({ kind: 'launch', runId, config, weftVersion: WEFT_VERSION });
        return this.get(runId);
      } catch (thrown) {
        // Four random characters can be the same twice in a minute.
        if (!WeftError.is(thrown, 'already_exists')) throw thrown;
      }
    }
  }

  /** @throws `not_found`, or why the run cannot be resumed so. */
  async resume(request: ResumeRequest): Promise<RunSummary> {
    this.requireStore();
    const { runId } = request;
    const workers = request.workers === 0 ? undefined : request.workers;
    const steps = request.steps === 0 ? undefined : request.steps;
    const { expertWorkers } = request;
    const found = await this.#lookUp(runId);
    await this.#options.queue.take({ kind: 'resume', runId, workers, steps, expertWorkers, found });
    return this.get(runId);
  }

  /** @throws `not_found`, or `failed_precondition` when it has ended. */
  async stop({ runId, saveCheckpoint }: StopRequest): Promise<RunSummary> {
    this.requireStore();
    await this.#options.queue.take({ kind: 'stop', runId, saveCheckpoint });
    return this.get(runId);
  }

  /** @throws `not_found`. */
  get(runId: string): RunSummary {
    const { filesOf, queue } = this.#options;
    const view = describeRun(queue.state, runId);
    if (view !== undefined) return runViewToProto({ ...this.#withTrouble(view), directory: filesOf(runId).directory });
    throw new WeftError('not_found', `there is no run ${JSON.stringify(runId)}`, {
      cure: 'list the runs with `weft ls`',
    });
  }

  /** A page of all runs, in the order they were launched. */
  list({ pageToken }: ListRequest = {}): ListResponse {
    const runIds = [...this.#options.queue.state.runs.keys()];
    const { page, nextPageToken } = pageOf(runIds, (runId) => runId, pageToken);
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
    // Between two events, so that no row is sent twice or left out.
    await queue.inTurn(async () => {
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
      storeError: storeTrouble(store) ?? '',
      workers: [...workers.values()].map(({ workerId, hostName, device, runId = '' }) => {
        const live = runs.get(runId)?.live;
        const rank = live?.state === 'training' ? Math.max(0, live.members.indexOf(workerId)) : 0;
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

  /** What must be written down can wait for a store that is away; who asks for it should not. @throws `unavailable`. */
  requireStore(): void {
    const trouble = storeTrouble(this.#options.store);
    if (trouble !== undefined) throw new WeftError('unavailable', trouble, { cure: 'try again when it is back' });
  }

  /** Says why nothing goes on, while it does not. */
  #withTrouble(view: RunDescription): RunDescription {
    const trouble = storeTrouble(this.#options.store);
    if (trouble === undefined || hasEnded(view)) return view;
    return { ...view, reason: `${trouble}; ${view.reason}` };
  }

  /** What a resume would go on from. Of a run at work nobody asks, and its files are not ours to read. */
  async #lookUp(runId: string): Promise<FoundCheckpoint> {
    const { filesOf, queue } = this.#options;
    const state = queue.state.runs.get(runId)?.state;
    if (state === undefined || state.status === 'running' || state.status === 'stopping')
      return { checkpoint: undefined, skipped: [] };
    return findCheckpoint(filesOf(runId).directory, state.step);
  }
}
