import type { QueueChange, QueueState, StoredJob } from '../queue-state.js';
import { StoredQueue } from '../stored-queue.js';
import { BullJobs } from './bull-jobs.js';
import type { RedisKeys } from './redis-keys.js';
import type { RedisLink } from './redis-link.js';

/** What a call is going to do, stored before it is done. Executing it twice is the same as once. */
interface Intent {
  /** One job, or a parent with its children. */
  readonly added: readonly StoredJob[];
  /** Jobs after the change; children before their parents. */
  readonly settled: readonly StoredJob[];
  readonly forgotten: readonly string[];
  /** Null: unchanged. */
  readonly paused: boolean | null;
}

/**
 * The queue in Redis, on BullMQ. A change takes several calls of BullMQ, so an intent is stored first, in one call, and then
 * executed. An intent that was not executed to its end, because a connection broke or a coordinator died, is executed
 * again when it is found.
 */
export class RedisJobQueue extends StoredQueue {
  readonly #link: RedisLink;
  readonly #jobs: BullJobs;

  /** @param token of the lease under which it is opened */
  static async open(link: RedisLink, keys: RedisKeys, token: number): Promise<RedisJobQueue> {
    const jobs = new BullJobs(link.client, keys, token);
    try {
      return new RedisJobQueue(link, jobs, await link.run(() => loadQueue(jobs)));
    } catch (thrown) {
      await jobs.close();
      throw thrown;
    }
  }

  private constructor(link: RedisLink, jobs: BullJobs, state: QueueState) {
    super(state);
    this.#link = link;
    this.#jobs = jobs;
  }

  protected async write(changes: readonly QueueChange[], next: QueueState): Promise<void> {
    const intent: Intent = {
      added: changes.flatMap((change) => (change.kind === 'added' ? change.job : [])),
      settled: changes.flatMap((change) => (change.kind === 'changed' ? (next.jobs.get(change.id) ?? []) : [])),
      forgotten: changes.flatMap((change) => (change.kind === 'forgotten' ? change.ids : [])),
      paused: changes.some(({ kind }) => kind === 'paused') ? next.paused : null,
    };
    const text = JSON.stringify(intent);
    await this.#link.run(async () => {
      await this.#jobs.writeIntent(text);
      await applyIntent(this.#jobs, intent);
      await this.#jobs.writeIntent('');
    });
  }

  protected load(): Promise<QueueState> {
    return this.#link.run(() => loadQueue(this.#jobs));
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#jobs.close();
  }
}

async function loadQueue(jobs: BullJobs): Promise<QueueState> {
  const text = await jobs.readIntent();
  if (text !== '') {
    const intent: Intent = JSON.parse(text);
    await applyIntent(jobs, intent);
    await jobs.writeIntent('');
  }
  const loaded = await jobs.load();
  return { jobs: new Map(loaded.map((job) => [job.id, job])), paused: await jobs.isPaused() };
}

async function applyIntent(jobs: BullJobs, { added, settled, forgotten, paused }: Intent): Promise<void> {
  await jobs.add(added);
  for (const job of settled) await jobs.reconcile(job);
  for (const id of forgotten) await jobs.remove(id);
  if (paused !== null) await jobs.setPaused(paused);
}
