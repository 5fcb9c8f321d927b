import type { ConnectedWorker, Role } from './connected-worker.js';
import { VersionedMap } from './versioned-map.js';

/**
 * Workers that decisions ask for together. A worker is in several groups at a time:
 *
 * - `connected/<role>`, and `idle/<role>` while it can be given work;
 * - `members/<runId>` and `members/<runId>/<role>` of the run it is a member of, and `leaving/<runId>/<role>` once it is
 *   to leave it;
 * - `joining/<runId>` of the run that it will join under way;
 * - `holding` while it holds a run whose job is paused; `cut` when there is somebody it cannot reach; `hung` when it was left out for that;
 * - `at/<address>` of its data plane.
 */
export type WorkerGroup =
  | `connected/${Role}`
  | `idle/${Role}`
  | `members/${string}`
  | `leaving/${string}/${Role}`
  | `joining/${string}`
  | 'holding'
  | 'cut'
  | 'hung'
  | `at/${string}`;

/**
 * The connected workers, by workerId and by group. A value: every change gives another table, in time that does not depend on
 * how many workers there are.
 */
export class WorkerTable {
  readonly #byId: VersionedMap<string, ConnectedWorker>;
  readonly #groups: VersionedMap<WorkerGroup, VersionedMap<string, true>>;

  static empty(): WorkerTable {
    return new WorkerTable(VersionedMap.empty(), VersionedMap.empty());
  }

  private constructor(
    byId: VersionedMap<string, ConnectedWorker>,
    groups: VersionedMap<WorkerGroup, VersionedMap<string, true>>,
  ) {
    this.#byId = byId;
    this.#groups = groups;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(workerId: string): ConnectedWorker | undefined {
    return this.#byId.get(workerId);
  }

  has(workerId: string): boolean {
    return this.#byId.has(workerId);
  }

  /** All of them: takes the longer the more there are. */
  values(): readonly ConnectedWorker[] {
    return [...this.#byId.values()];
  }

  /** How many workers a group has. */
  count(group: WorkerGroup): number {
    return this.#groups.get(group)?.size ?? 0;
  }

  /** The workers of a group, in the order they connected. */
  group(group: WorkerGroup): readonly ConnectedWorker[] {
    const workerIds = this.#groups.get(group)?.keys() ?? [];
    return [...workerIds].map((workerId) => this.#byId.get(workerId)!).sort((a, b) => a.order - b.order);
  }

  with(worker: ConnectedWorker): WorkerTable {
    const { workerId } = worker;
    const before = groupsOf(this.#byId.get(workerId));
    const after = groupsOf(worker);
    const byId = this.#byId.with(workerId, worker);
    return new WorkerTable(byId, moved(this.#groups, workerId, before, after));
  }

  without(workerId: string): WorkerTable {
    const before = groupsOf(this.#byId.get(workerId));
    return new WorkerTable(this.#byId.without(workerId), moved(this.#groups, workerId, before, []));
  }
}

/** Whether a worker can be given work: it is in no run, neither about to join one nor to leave, and does not hang. */
function isIdle({ runId, joining, held, isLeaving, hungAskedMs }: ConnectedWorker): boolean {
  return (runId ?? joining ?? held ?? isLeaving ?? hungAskedMs) === undefined;
}

function groupsOf(worker: ConnectedWorker | undefined): readonly WorkerGroup[] {
  if (worker === undefined) return [];
  const { role, runId, joining, held, isLeaving, cannotReach, dataPlaneAddress, unfitFor, hungAskedMs } = worker;
  const groups: WorkerGroup[] = [`connected/${role}`, `at/${dataPlaneAddress}`];
  if (isIdle(worker)) groups.push(`idle/${role}`);
  if (runId !== undefined) groups.push(`members/${runId}`, `members/${runId}/${role}`);
  if (runId !== undefined && (isLeaving === true || unfitFor?.includes(runId) === true))
    groups.push(`leaving/${runId}/${role}`);
  if (joining !== undefined) groups.push(`joining/${joining.runId}`);
  if (held !== undefined) groups.push('holding');
  if (cannotReach !== undefined) groups.push('cut');
  if (hungAskedMs !== undefined) groups.push('hung');
  return groups;
}

function moved(
  groups: VersionedMap<WorkerGroup, VersionedMap<string, true>>,
  workerId: string,
  before: readonly WorkerGroup[],
  after: readonly WorkerGroup[],
): VersionedMap<WorkerGroup, VersionedMap<string, true>> {
  let changed = groups;
  for (const name of before) {
    if (after.includes(name)) continue;
    const rest = changed.get(name)?.without(workerId);
    changed = rest === undefined || rest.size === 0 ? changed.without(name) : changed.with(name, rest);
  }
  for (const name of after)
    if (!before.includes(name))
      changed = changed.with(name, (changed.get(name) ?? VersionedMap.empty<string, true>()).with(workerId, true));
  return changed;
}
