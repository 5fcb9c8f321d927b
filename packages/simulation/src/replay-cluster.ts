import { hasEnded } from '@weft/contracts';
import {
  type ClusterEvent,
  type ClusterState,
  decide,
  defaultTimeouts,
  initialCluster,
  type Run,
  type RunRecord,
  type RunState,
  replay,
  trainingAgain,
  type WorkerIdentity,
} from '@weft/coordination';
import { EMPTY_DIGEST } from '@weft/mixture';

type Of<Kind extends RunRecord['kind']> = Extract<RunRecord, { readonly kind: Kind }>;
type Member = Of<'assigned'>['workers'][number];

/** A coordinator to which everything happens again that the records of a run tell of. */
export class ReplayCluster {
  readonly #runId: string;
  #cluster: ClusterState = initialCluster(defaultTimeouts);
  /** The newest generation of the log. */
  #assigned: Of<'assigned'> | undefined;

  constructor(runId: string) {
    this.#runId = runId;
  }

  get state(): RunState | undefined {
    return this.#run?.state;
  }

  /** @returns the records that are decided when it happens what a record tells of: that one, and perhaps those that follow it */
  lead(records: readonly RunRecord[], at: number): readonly RunRecord[] {
    const record = records[at]!;
    if (record.kind === 'assigned') this.#assigned = record;
    const nowMs = Date.parse(record.time);
    const decided: RunRecord[] = [];
    if (record.kind === 'requeued' && record.reason.startsWith('the coordinator went away')) this.#restart();
    for (const event of this.#eventsOf(record, records[at + 1])) {
      const live = this.#run?.live;
      // Who joins a ring that forms again was ready before it could.
      const isBefore = record.kind === 'assigned' && live?.state === 'reforming' && event.kind !== 'tick';
      const eventMs = isBefore ? live.sinceMs : nowMs;
      const decision = decide(eventMs, this.#cluster, event, { lastMessageMs: () => nowMs });
      this.#cluster = decision.state;
      for (const each of decision.records) if (each.runId === this.#runId) decided.push(each.record);
      if (decided.length > 0) break;
    }
    for (const each of decided) if (each.kind === 'assigned') this.#assigned = each;
    return decided;
  }

  /** Takes the run to be where its records lead, with the members of its newest generation. */
  take(records: readonly RunRecord[]): void {
    const state = replay(records);
    const { runId } = state;
    for (const record of records) if (record.kind === 'assigned') this.#assigned = record;
    this.#cluster = initialCluster(defaultTimeouts, [state]);
    const isActive = state.status === 'running' || state.status === 'stopping';
    if (isActive) for (const member of this.#members()) this.#connect(identityOf(member, 'rank'));
    if (isActive) for (const member of this.#experts()) this.#connect(identityOf(member, 'expertWorker'));
    const directory = state.checkpoints.at(-1)?.directory;
    const startState = { step: state.step, directory: state.step === 0 ? undefined : directory };
    const waiting = { state: 'waiting', sinceMs: state.updatedAtMs, startState, reservedUntilMs: undefined } as const;
    const stopAfterStep = state.status === 'stopping' ? Math.min(state.step + 1, state.config.steps) : undefined;
    // Before its first commit it can begin again.
    const began = state.lastCommit === undefined ? startState : undefined;
    const training = { ...trainingAgain(state), stopAfterStep, startState: began };
    const live: Run['live'] = hasEnded(state) ? { state: 'ended' } : isActive ? training : waiting;
    let { workers } = this.#cluster;
    if (isActive) for (const worker of workers.values()) workers = workers.with({ ...worker, runId });
    const runs = this.#cluster.runs.with(runId, { state, live });
    this.#cluster = { ...this.#cluster, runs, workers, queue: queueOf(state) };
  }

  get #run(): Run | undefined {
    return this.#cluster.runs.get(this.#runId);
  }

  /** Only the log is left. */
  #restart(): void {
    const { state } = this;
    if (state !== undefined) this.#cluster = initialCluster(defaultTimeouts, [state]);
  }

  #connect(worker: WorkerIdentity): void {
    const nowMs = this.state?.updatedAtMs ?? 0;
    this.#cluster = decide(nowMs, this.#cluster, { kind: 'workerConnected', worker }).state;
  }

  #eventsOf(record: RunRecord, next: RunRecord | undefined): readonly ClusterEvent[] {
    const runId = this.#runId;
    const { state } = this;
    const live = this.#run?.live;
    const from = { runId, generation: state?.generation ?? 0 };
    const tick = { kind: 'tick' } as const;
    switch (record.kind) {
      case 'launched': {
        const { config, weftVersion, parent } = record;
        return [{ kind: 'launch', runId, config, weftVersion, ...(parent === undefined ? {} : { parent }) }];
      }
      case 'assigned':
        return [...this.#arrivals(record, record.newcomers ?? []), tick];
      case 'committed': {
        if (live?.state !== 'training') return [];
        const follows = next?.kind === 'assigned' && next.time === record.time ? next : undefined;
        const present = new Set(follows?.workers.map(({ workerId }) => workerId));
        const leavers = follows === undefined ? [] : live.members.filter((workerId) => !present.has(workerId));
        return [
          ...(follows === undefined ? [] : this.#arrivals(follows, follows.newcomers ?? [])),
          ...leavers.map((workerId) => ({ kind: 'leaving', workerId }) as const),
          ...live.members.map(
            (workerId, rank) => ({ ...from, kind: 'voted', workerId, vote: voteOf(record, rank) }) as const,
          ),
        ];
      }
      case 'checkpointWritten': {
        if (live?.state !== 'training' && live?.state !== 'reforming') return [];
        const { step, directory, manifestSha256, stallSeconds } = record;
        const members = live.state === 'training' ? [...live.members, ...live.experts] : [];
        const part = (workerId: string) =>
          ({ ...from, kind: 'partSaved', workerId, step, files: [], stallSeconds }) as const;
        const workerId = (live.state === 'training' ? live.members : live.survivors)[0] ?? '';
        return [...members.map(part), { ...from, kind: 'manifestWritten', workerId, step, directory, manifestSha256 }];
      }
      case 'workerLost':
        return [{ kind: 'workerDisconnected', workerId: record.workerId, reason: record.reason }];
      case 'ringBroke': {
        const members = live?.state === 'training' ? (record.role === undefined ? live.members : live.experts) : [];
        const workerId = members[record.rank];
        const { step, reason } = record;
        return workerId === undefined ? [] : [{ ...from, kind: 'ringBroken', workerId, step, reason }];
      }
      case 'stopRequested':
        return [{ kind: 'stop', runId, saveCheckpoint: true }];
      case 'requeued': {
        if (state === undefined) return [];
        const queue = queueOf(state);
        return [{ kind: 'recovered', policy: 'auto', queue, endedJobIds: new Set() }];
      }
      case 'continued': {
        const { step = 0, loss = null, generation = 0 } = state ?? {};
        const held = { runId, generation, step, loss: loss ?? Number.NaN, votedLoss: undefined, isTraining: true };
        const members = [
          ...this.#members().map((member) => identityOf(member, 'rank')),
          ...this.#experts().map((member) => identityOf(member, 'expertWorker')),
        ];
        return members.map((worker) => ({ kind: 'workerConnected', worker, held }));
      }
      case 'failed':
      case 'attemptFailed':
        return [{ kind: 'runFailed', runId, failure: record.failure }];
      default:
        return [];
    }
  }

  /** The workers of a generation that are not there yet connect, in its order, those that are not in it go, and newcomers get ready. */
  #arrivals(assigned: Of<'assigned'>, newcomers: readonly string[]): readonly ClusterEvent[] {
    const { workers } = this.#cluster;
    const all = [
      ...assigned.workers.map((member) => identityOf(member, 'rank', assigned)),
      ...(assigned.expertWorkers ?? []).map((member) => identityOf(member, 'expertWorker', assigned)),
    ];
    const present = new Set(all.map(({ workerId }) => workerId));
    const idle = workers.values().filter(({ workerId, runId }) => runId === undefined && !present.has(workerId));
    return [
      ...idle.map(({ workerId }) => ({ kind: 'workerDisconnected', workerId, reason: 'it is in no record' }) as const),
      // Expert workers first: a run starts with the last rank.
      ...all
        .toSorted((a, b) => (a.role === b.role ? 0 : a.role === 'expertWorker' ? -1 : 1))
        .flatMap((worker) => (workers.has(worker.workerId) ? [] : [{ kind: 'workerConnected', worker } as const])),
      ...newcomers.map((workerId) => ({ kind: 'prepared', workerId, runId: this.#runId, failure: undefined }) as const),
    ];
  }

  #members(): readonly Member[] {
    return this.#assigned?.workers ?? [];
  }

  #experts(): readonly Member[] {
    return this.#assigned?.expertWorkers ?? [];
  }
}

/** A vote that leads to a commit: the digest of a step is the sum of those of its ranks, so rank 0 has all of it. */
function voteOf({ entry, gradNorm, lossTokens, spike }: Of<'committed'>, rank: number) {
  return {
    step: entry.step,
    loss: entry.loss ?? Number.NaN,
    gradNorm: gradNorm ?? Number.NaN,
    finite: entry.applied || spike !== undefined || lossTokens === 0,
    sequenceDigest: rank === 0 ? entry.digest : EMPTY_DIGEST,
    lossTokens,
  };
}

function identityOf(
  { workerId, hostName, device }: Member,
  role: WorkerIdentity['role'],
  assigned?: Of<'assigned'>,
): WorkerIdentity {
  const dataPlaneAddress = `${workerId}:1`;
  // What precision "auto" became tells what the workers can compute.
  const bf16Backends = assigned?.precision === 'bf16' ? (['auto', 'tensorflow', 'pjrt'] as const) : [];
  return { workerId, hostName, device, processId: 1, dataPlaneAddress, role, bf16Backends };
}

/** The queue with the job of the run alone. */
function queueOf(state: RunState): ClusterState['queue'] {
  if (hasEnded(state)) return { isPaused: false, jobs: [] };
  const { runId, status, config, parent, resubmissions } = state;
  const id = resubmissions === 0 ? `run.${runId}` : `run.${runId}.${resubmissions + 1}`;
  const jobState = status === 'queued' ? 'waiting' : 'active';
  const { priority } = config.queue;
  return { isPaused: false, jobs: [{ id, kind: 'run', runId, state: jobState, priority, notBeforeMs: 0, parent }] };
}
