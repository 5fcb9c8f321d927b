import { isJsonObject } from '@weft/common';

/** What one rank spent a step on, seconds. */
export interface RankStep {
  readonly step: number;
  /** Until its batch was there. */
  readonly data: number;
  /** Forward and backward pass, measuring. */
  readonly compute: number;
  /** The all-reduce that nothing hides, as far as no other rank was waited for. */
  readonly communication: number;
  /** The all-reduce stood still, because another rank still computed. */
  readonly waiting: number;
  /** The update; null of the last step, which tells with the next vote. */
  readonly apply: number | null;
}

/** A process of a run as it is now. */
export interface RunRank {
  readonly workerId: string;
  readonly hostName: string;
  readonly device: string;
  readonly role: 'rank' | 'expertWorker';
  /** Among the ranks, or among the expert workers. */
  readonly rank: number;
  /** Whether its vote for the current step has come: it waits for the others. */
  readonly hasVoted: boolean;
  /** Seconds since its last message. */
  readonly silentSeconds: number;
  /** What is wrong with it, one clause: it hangs, or is slower than the others; null: nothing that is known. */
  readonly trouble: string | null;
  /** Its last steps, oldest first; none of an expert worker. */
  readonly steps: readonly RankStep[];
}

/** Who trains a run. */
export interface RunRanks {
  /** The ranks, then the expert workers; empty while the run does not train. */
  readonly ranks: readonly RunRank[];
}

/** Reads what a coordinator of this version sent. */
export function parseRunRanks(json: string): RunRanks {
  const value: unknown = json === '' ? undefined : JSON.parse(json);
  return isJsonObject(value) && Array.isArray(value.ranks) ? { ranks: value.ranks as RunRank[] } : { ranks: [] };
}
