import type { RankStep, RunRank, RunRanks, StepVote } from '@weft/contracts';
import {
  type ClusterEvent,
  type ClusterState,
  type ConnectedWorker,
  type Decision,
  rankOf,
  type Training,
} from '@weft/coordination';

/** So many steps of a rank are kept. */
const KEPT_STEPS = 60;
/** Fewer slow steps may be chance. */
const FEWEST_SLOW = 5;

/** What the ranks of runs that train spent their last steps on, from their votes. It changes no decision. */
export class RankTimes {
  readonly #runs = new Map<string, TimesOfRun>();

  /** After every decision. */
  observe({ state, records }: Decision, event: ClusterEvent): void {
    if (event.kind === 'voted') {
      const live = state.runs.get(event.runId)?.live;
      if (live?.state !== 'training' || live.generation !== event.generation) return;
      this.#timesOf(event.runId, event.generation).voted(rankOf(live.members, event.workerId), event.vote);
    }
    for (const { runId, record } of records) {
      if (record.kind === 'committed') this.#runs.get(runId)?.committed(record.entry.step);
      if (record.kind === 'finished' || record.kind === 'stopped' || record.kind === 'failed') this.#runs.delete(runId);
    }
  }

  /** Who trains a run now. */
  of({ runs, workers }: ClusterState, runId: string, silentSeconds: (worker: ConnectedWorker) => number): RunRanks {
    const live = runs.get(runId)?.live;
    if (live?.state !== 'training') return { ranks: [] };
    const times = this.#runs.get(runId);
    const describe = (role: RunRank['role']) => (workerId: string, rank: number) => {
      const worker = workers.get(workerId);
      return {
        workerId,
        role,
        rank,
        hostName: worker?.hostName ?? '',
        device: worker?.device ?? '',
        hasVoted: role === 'rank' && live.votes.has(rank),
        silentSeconds: worker === undefined ? 0 : Math.round(silentSeconds(worker)),
        trouble: troubleOf(live, workerId, rank, role),
        steps: role === 'rank' && times?.generation === live.generation ? times.stepsOf(rank) : [],
      };
    };
    return { ranks: [...live.members.map(describe('rank')), ...live.experts.map(describe('expertWorker'))] };
  }

  #timesOf(runId: string, generation: number): TimesOfRun {
    const known = this.#runs.get(runId);
    if (known?.generation === generation) return known;
    const times = new TimesOfRun(generation);
    this.#runs.set(runId, times);
    return times;
  }
}

/** What is wrong with a member, one clause; null: nothing that is known. */
function troubleOf(live: Training, workerId: string, rank: number, role: RunRank['role']): string | null {
  const hang = live.watch?.named.get(workerId);
  if (hang !== undefined) return `hangs: it ${hang}`;
  const slow = role === 'rank' ? (live.slowSteps?.[rank] ?? 0) : 0;
  return slow >= FEWEST_SLOW ? `slow: for ${slow} steps in a row it took much longer than the others` : null;
}

/** Of one generation: another one has other ranks. */
class TimesOfRun {
  readonly generation: number;
  readonly #steps: RankStep[][] = [];
  readonly #votes = new Map<number, StepVote>();

  constructor(generation: number) {
    this.generation = generation;
  }

  voted(rank: number, vote: StepVote): void {
    if (rank < 0) return;
    this.#votes.set(rank, vote);
    const last = this.#steps[rank]?.at(-1);
    const { applySecondsBefore } = vote;
    if (last?.step === vote.step - 1 && applySecondsBefore !== undefined)
      this.#steps[rank]?.splice(-1, 1, { ...last, apply: applySecondsBefore });
  }

  committed(step: number): void {
    const votes = [...this.#votes].filter(([, vote]) => vote.step === step);
    const least = Math.min(...votes.map(([, { communicationSeconds = 0 }]) => communicationSeconds));
    for (const [rank, { dataSeconds = 0, computeSeconds = 0, communicationSeconds = 0 }] of votes) {
      const waiting = communicationSeconds - least;
      const taken = { step, data: dataSeconds, compute: computeSeconds, communication: least, waiting, apply: null };
      this.#steps[rank] = [...(this.#steps[rank] ?? []), taken].slice(-KEPT_STEPS);
    }
    this.#votes.clear();
  }

  stepsOf(rank: number): readonly RankStep[] {
    return this.#steps[rank] ?? [];
  }
}
