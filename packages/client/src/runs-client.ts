import { WEFT_VERSION } from '@weft/common';
import type { RunConfig } from '@weft/config';
import {
  type MetricsRow,
  parseMetricsRow,
  parseRunGoodput,
  parseRunRanks,
  type RunGoodput,
  type RunRanks,
  type RunView,
  runViewFromProto,
} from '@weft/contracts';
import { type ClusterSummary, type ProfileUpdate, RunsService } from '@weft/proto';
import type { Channel } from '@weft/rpc';

/** After this long without an answer a coordinator counts as gone. */
const CONNECT_TIMEOUT_MS = 3000;

/** What a coordinator reports of a run that is watched. */
export type RunUpdate =
  | { readonly kind: 'run'; readonly run: RunView }
  | { readonly kind: 'metrics'; readonly metrics: MetricsRow }
  /** A sentence about the cluster. */
  | { readonly kind: 'notice'; readonly sentence: string };

/** The Runs service. Every failed call is a WeftError. */
export class RunsClient {
  readonly #channel: Channel;

  private constructor(open: Channel) {
    this.#channel = open;
  }

  /** @throws WeftError `unavailable` or `deadline_exceeded` when no coordinator answers at `host:port`. */
  static async connect(address: string): Promise<RunsClient> {
    const { channel } = await import('@weft/rpc');
    const open = await channel(address);
    try {
      await open.unary(RunsService.cluster, {}, { deadlineMs: CONNECT_TIMEOUT_MS });
      return new RunsClient(open);
    } catch (thrown) {
      open.close();
      throw thrown;
    }
  }

  get address(): string {
    return this.#channel.address;
  }

  async launch(config: RunConfig): Promise<RunView> {
    const request = { configJson: JSON.stringify(config), clientVersion: WEFT_VERSION };
    return runViewFromProto(await this.#channel.unary(RunsService.launch, request));
  }

  /** Omitted fields stay as they were. `steps` is the new total. */
  async resume(
    runId: string,
    change: {
      readonly [Field in 'workers' | 'steps' | 'expertWorkers' | 'fromStep']?: number | undefined;
    } & { readonly settings?: readonly string[] | undefined },
  ): Promise<RunView> {
    const { workers = 0, steps = 0, expertWorkers, fromStep, settings = [] } = change;
    const request = { runId, workers, steps, expertWorkers, fromStep, settings: [...settings] };
    return runViewFromProto(await this.#channel.unary(RunsService.resume, request));
  }

  /** Other weights, by source or dataset, or a newer version of the packed index, from a step on. Omitted fields stay as they were. */
  async changeMixture(
    runId: string,
    change: {
      readonly fromStep: number;
      readonly weights?: Readonly<Record<string, string>>;
      readonly indexVersion?: number | undefined;
      readonly reason?: string;
    },
  ): Promise<RunView> {
    const { fromStep, weights = {}, indexVersion = 0, reason = '' } = change;
    const request = { runId, fromStep, weights: { ...weights }, indexVersion, reason };
    return runViewFromProto(await this.#channel.unary(RunsService.changeMixture, request));
  }

  async stop(runId: string, { saveCheckpoint }: { saveCheckpoint: boolean }): Promise<RunView> {
    return runViewFromProto(await this.#channel.unary(RunsService.stop, { runId, saveCheckpoint }));
  }

  /** Asks for a checkpoint after the current step; the run goes on. */
  async saveCheckpoint(runId: string): Promise<RunView> {
    return runViewFromProto(await this.#channel.unary(RunsService.saveCheckpoint, { runId }));
  }

  async get(runId: string): Promise<RunView> {
    return runViewFromProto(await this.#channel.unary(RunsService.get, { runId }, { idempotent: true }));
  }

  async list(): Promise<RunView[]> {
    const all: RunView[] = [];
    for (let pageToken: string | undefined; ; ) {
      const { runs, nextPageToken } = await this.#channel.unary(RunsService.list, { pageToken }, { idempotent: true });
      all.push(...runs.map(runViewFromProto));
      if (nextPageToken === undefined) return all;
      pageToken = nextPageToken;
    }
  }

  cluster(): Promise<ClusterSummary> {
    return this.#channel.unary(RunsService.cluster, {}, { idempotent: true });
  }

  /** Where the time of a run went; undefined for one whose time was never measured. */
  async goodput(runId: string): Promise<RunGoodput | undefined> {
    const { goodputJson } = await this.#channel.unary(RunsService.goodput, { runId }, { idempotent: true });
    return goodputJson === '' ? undefined : parseRunGoodput(JSON.parse(goodputJson));
  }

  /** Who trains a run, and what the ranks spent their last steps on. */
  async ranks(runId: string): Promise<RunRanks> {
    const { ranksJson } = await this.#channel.unary(RunsService.ranks, { runId }, { idempotent: true });
    return parseRunRanks(ranksJson);
  }

  /** What all processes of a run do in its next steps: first which steps, then one process after the other. */
  async *profile(runId: string, steps: number, signal: AbortSignal): AsyncGenerator<ProfileUpdate, void, undefined> {
    yield* this.#channel.serverStream(RunsService.profile, { runId, steps }, { signal });
  }

  /** The records of a run's log, from the coordinator's store. */
  async *readLog(runId: string): AsyncGenerator<{ readonly record: unknown }, void, undefined> {
    for await (const { recordJson } of this.#channel.serverStream(RunsService.readLog, { runId, fromSequence: 1 }))
      yield { record: JSON.parse(recordJson) as unknown };
  }

  /** The run as it is, the metrics of the steps after `afterStep`, then everything new until the run ends. */
  async *watch(runId: string, afterStep: number, signal?: AbortSignal): AsyncGenerator<RunUpdate, void, undefined> {
    const options = signal === undefined ? {} : { signal };
    for await (const { body } of this.#channel.serverStream(RunsService.watch, { runId, afterStep }, options)) {
      if (body?.$case === 'summary') yield { kind: 'run', run: runViewFromProto(body.summary) };
      if (body?.$case === 'notice') yield { kind: 'notice', sentence: body.notice };
      const metrics = body?.$case === 'metricsJson' ? parseMetricsRow(body.metricsJson) : undefined;
      if (metrics !== undefined) yield { kind: 'metrics', metrics };
    }
  }

  close(): void {
    this.#channel.close();
  }
}
