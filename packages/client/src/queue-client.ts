import { JobKind, JobState, type MoveInQueueRequest, type QueueEntry, QueueService } from '@weft/proto';
import type { Channel } from '@weft/rpc';

/** A job that has not ended, as a person sees it. */
export interface QueuedView {
  /** A run id, or the id of a sweep. */
  readonly id: string;
  readonly kind: 'run' | 'sweep';
  readonly state: 'waiting' | 'delayed' | 'paused' | 'waiting for its runs' | 'running';
  /** Among the waiting jobs, from 1; null for others. */
  readonly position: number | null;
  readonly recipe: string;
  readonly priority: number;
  readonly workers: number;
  /** Why it waits, or what it is doing. */
  readonly reason: string;
  /** Null when it is unknown. */
  readonly expectedStartMs: number | null;
  readonly step: number;
  readonly steps: number;
  readonly failedAttempts: number;
  readonly maxAttempts: number;
  /** The sweep it belongs to. */
  readonly parent: string | null;
  readonly launchedAtMs: number | null;
}

/** The queue as a person sees it. */
export interface QueueView {
  readonly isPaused: boolean;
  readonly workersConnected: number;
  readonly workersIdle: number;
  /** First the running ones, then the waiting ones in the order they would start. */
  readonly jobs: readonly QueuedView[];
}

/** Where `move` puts a job. */
export type Destination = NonNullable<MoveInQueueRequest['to']>;

/** The Queue service. Every failed call is a WeftError. */
export class QueueClient {
  readonly #channel: Channel;

  private constructor(open: Channel) {
    this.#channel = open;
  }

  static async connect(address: string): Promise<QueueClient> {
    const { channel } = await import('@weft/rpc');
    return new QueueClient(await channel(address));
  }

  async show(): Promise<QueueView> {
    const jobs: QueuedView[] = [];
    for (let pageToken: string | undefined; ; ) {
      const page = await this.#channel.unary(QueueService.show, { pageToken }, { idempotent: true });
      jobs.push(...page.entries.map(queuedViewFromProto));
      pageToken = page.nextPageToken;
      const { paused: isPaused, workersConnected, workersIdle } = page;
      if (pageToken === undefined) return { isPaused, workersConnected, workersIdle, jobs };
    }
  }

  async move(id: string, to: Destination): Promise<QueuedView> {
    return queuedViewFromProto(await this.#channel.unary(QueueService.move, { id, to }));
  }

  /** Without an id: the whole queue. */
  async pause(id = ''): Promise<void> {
    await this.#channel.unary(QueueService.pause, { id });
  }

  async resume(id = ''): Promise<void> {
    await this.#channel.unary(QueueService.resume, { id });
  }

  /** Returns the ids that were removed; for a sweep also those of its runs. */
  async cancel(id: string): Promise<readonly string[]> {
    return (await this.#channel.unary(QueueService.cancel, { id })).ids;
  }

  close(): void {
    this.#channel.close();
  }
}

const STATES: Readonly<Record<JobState, QueuedView['state']>> = {
  [JobState.JOB_STATE_WAITING]: 'waiting',
  [JobState.JOB_STATE_DELAYED]: 'delayed',
  [JobState.JOB_STATE_PAUSED]: 'paused',
  [JobState.JOB_STATE_WAITING_FOR_CHILDREN]: 'waiting for its runs',
  [JobState.JOB_STATE_RUNNING]: 'running',
  // A coordinator of a later version may have more states; a listed job has not ended.
  [JobState.JOB_STATE_UNSPECIFIED]: 'waiting',
  [JobState.UNRECOGNIZED]: 'waiting',
};

function queuedViewFromProto({ notBeforeMs: _, ...entry }: QueueEntry): QueuedView {
  const { kind, state, position, expectedStartMs, parent, launchedAtMs } = entry;
  return {
    ...entry,
    kind: kind === JobKind.JOB_KIND_SWEEP ? 'sweep' : 'run',
    state: STATES[state],
    position: position === 0 ? null : position,
    expectedStartMs: expectedStartMs === 0 ? null : expectedStartMs,
    parent: parent === '' ? null : parent,
    launchedAtMs: launchedAtMs === 0 ? null : launchedAtMs,
  };
}
