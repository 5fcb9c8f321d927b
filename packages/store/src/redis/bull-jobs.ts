import {
  type Job as BullJob,
  createIORedisClient,
  FlowProducer,
  type IRedisClient,
  type JobsOptions,
  Queue,
} from 'bullmq';
import type { StoredJob } from '../queue-state.js';
import { QUEUE_NAME, type RedisKeys } from './redis-keys.js';
import type { RedisClient } from './redis-link.js';
import { fencedClient, INTEND, TAKE } from './redis-scripts.js';

/**
 * Active jobs carry a lock that never expires: the lease decides whether their coordinator lives, and BullMQ must not call
 * them stalled.
 */
const LOCK = 'weft';

const QUEUED = ['wait', 'prioritized', 'delayed', 'waiting-children'] as const;

/**
 * The jobs in BullMQ. `data` of a job is all that Weft knows of it; its list or set, lock, attempts, result, progress and
 * parent belong to BullMQ. `settle` makes them agree with `data`. Every call may be repeated, and changes nothing once
 * another process has the lease.
 */
export class BullJobs {
  readonly #client: IRedisClient;
  readonly #keys: RedisKeys;
  readonly #queue: Queue<StoredJob>;
  readonly #flows: FlowProducer;

  /** @param token of the lease. */
  constructor(client: RedisClient, keys: RedisKeys, token: number) {
    this.#keys = keys;
    this.#client = fencedClient(createIORedisClient(client), keys.token, token);
    const options = { connection: this.#client, prefix: keys.queuePrefix };
    this.#queue = new Queue(QUEUE_NAME, options);
    this.#flows = new FlowProducer(options);
    for (const script of [INTEND, TAKE]) this.#client.defineCommand(script.name, script);
    // The calls below throw the same errors.
    this.#queue.on('error', () => {});
    this.#flows.on('error', () => {});
  }

  /** Stores the intent of a call; '' when it is executed. */
  async writeIntent(text: string): Promise<void> {
    await this.#client.runCommand(INTEND.name, [this.#keys.intent, text]);
  }

  /** The intent that may not have been executed; '' when there is none. */
  async readIntent(): Promise<string> {
    return (await this.#client.get(this.#keys.intent)) ?? '';
  }

  /** Every job. Where BullMQ and `data` disagree about its phase, a person has moved it, and BullMQ counts. */
  async load(): Promise<readonly StoredJob[]> {
    const [queued, active, completed, failed] = await Promise.all([
      this.#queue.getJobs([...QUEUED]),
      this.#queue.getJobs(['active']),
      this.#queue.getJobs(['completed']),
      this.#queue.getJobs(['failed']),
    ]);
    const as = (jobs: readonly BullJob<StoredJob>[], phase: StoredJob['phase']): StoredJob[] =>
      jobs.map(({ data }) => ({ ...data, phase }));
    return [
      ...as(queued, 'queued'),
      ...as(active, 'active'),
      ...as(completed, 'completed'),
      ...failed.map(({ data }) => ({ ...data, phase: data.phase === 'cancelled' ? data.phase : 'failed' }) as const),
    ];
  }

  isPaused(): Promise<boolean> {
    return this.#queue.isPaused();
  }

  async setPaused(paused: boolean): Promise<void> {
    await (paused ? this.#queue.pause() : this.#queue.resume());
  }

  /** Adds jobs that belong together: one, or a parent with its children. */
  async add([first, ...others]: readonly StoredJob[]): Promise<void> {
    if (first === undefined) return;
    if (first.children.length === 0) {
      await this.#queue.add(first.kind, first, optionsOf(first));
      return;
    }
    // BullMQ adds a parent with all its children or not at all, but does not refuse a second one of the same id.
    if ((await this.#queue.getJob(first.id)) !== undefined) return;
    const children = others.map((child) => ({ ...node(child), opts: { ...optionsOf(child), ...CHILD } }));
    await this.#flows.add({ ...node(first), opts: optionsOf(first), children });
  }

  async remove(id: string): Promise<void> {
    await this.#queue.remove(id, { removeChildren: false });
  }

  /** Moves a job to the list or set in which it belongs. */
  async reconcile(target: StoredJob): Promise<void> {
    const job = await this.#queue.getJob(target.id);
    if (job === undefined) return;
    const state = await job.getState();
    await job.updateData(target);
    if (job.priority !== bullPriority(target)) await job.changePriority({ priority: bullPriority(target) });
    const { progress } = target;
    if (progress !== null && progress !== undefined && JSON.stringify(job.progress) !== JSON.stringify(progress))
      await job.updateProgress(progress);
    if (state === 'completed' || state === 'failed') return;
    const stands = state === 'active' ? 'active' : 'queued';
    if (stands === target.phase) return;
    if (stands === 'queued') await this.#take(target.id);
    if (target.phase !== 'active') await this.#leave(job, target);
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#queue.close(), this.#flows.close()]);
  }

  async #take(id: string): Promise<void> {
    const lists = ['wait', 'prioritized', 'delayed', 'waiting-children', 'active', 'events', id];
    const keys = lists.map((part) => this.#keys.queue(part));
    await this.#client.runCommand(TAKE.name, [...keys, id, LOCK, Date.now()]);
  }

  /** Moves an active job to where it belongs. */
  async #leave(job: BullJob<StoredJob>, target: StoredJob): Promise<void> {
    if (target.phase === 'completed') {
      await job.moveToCompleted(target.result, LOCK, false);
    } else if (target.phase !== 'queued') {
      const fields = { failedReason: target.reason ?? '' };
      await this.#queue.getBackend().moveToFailed(job, fields.failedReason, false, LOCK, false, fields);
    } else if (target.failedAttempts > job.attemptsMade) {
      const nowMs = Date.now();
      const options = { fieldsToUpdate: { failedReason: target.reason ?? '' } };
      const delayMs = Math.max(0, target.notBeforeMs - nowMs);
      await this.#queue.getBackend().moveToDelayed(target.id, nowMs, delayMs, LOCK, options);
    } else {
      await job.moveToWait(LOCK);
    }
  }
}

const node = (job: StoredJob) => ({ name: job.kind, queueName: QUEUE_NAME, data: job });

/** A parent goes on when all its children have ended in any way. */
const CHILD = { ignoreDependencyOnFailure: true };

function optionsOf(job: StoredJob): JobsOptions {
  return {
    ...{ jobId: job.id, timestamp: job.addedAtMs, priority: bullPriority(job), attempts: job.attempts },
    ...{ backoff: { type: 'exponential', delay: job.backoffMs }, delay: Math.max(0, job.notBeforeMs - job.addedAtMs) },
    ...{ removeOnComplete: false, removeOnFail: false, stackTraceLimit: 0 },
  };
}

/** BullMQ counts priorities from 1, the most urgent, to 2^21. */
const bullPriority = ({ priority }: StoredJob): number => 1_000_001 - priority;
