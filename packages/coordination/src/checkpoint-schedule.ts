import { AUTOMATIC_INTERVAL, type CheckpointConfig } from '@weft/config';

/** What saving and losing cost a run, as its log has it. */
export interface SaveCosts {
  /** For how long training stands still for a checkpoint, typically; undefined before the first. */
  readonly stallSeconds: number | undefined;
  /** How often it went back to a checkpoint because it lost its workers, its coordinator or its way. */
  readonly interruptions: number;
  /** For how long it has trained. */
  readonly trainedMs: number;
  /** When it was last saved, or began from what was. */
  readonly savedAtMs: number;
}

export const NO_COSTS: SaveCosts = { stallSeconds: undefined, interruptions: 0, trainedMs: 0, savedAtMs: 0 };

/** How much the last save counts in what a save typically costs. */
const NEWEST_PART = 0.3;

/** The typical stall after one more save. */
export function learnStall(typical: number | undefined, seconds: number | undefined): number | undefined {
  if (seconds === undefined) return typical;
  return typical === undefined ? seconds : typical + NEWEST_PART * (seconds - typical);
}

/**
 * What is assumed of a run that has hardly trained: one interruption in so many hours of a worker. Llama 3 met 419 unexpected
 * ones in 54 days on 16,384 GPUs (Llama Team, 2024, section 3.3.4).
 */
const HOURS_PER_INTERRUPTION = 50_000;
const MS_PER_HOUR = 3_600_000;
/** The cost of a save is never taken for less: what follows in the background is not free. */
const LEAST_COST_MS = 50;
const SHORTEST_MS = 30_000;
const LONGEST_MS = 6 * MS_PER_HOUR;

/**
 * The time between two checkpoints at which a run loses least to saving and to training again what it lost: √(2CM) − C, where
 * a save costs C and an interruption comes every M (Young 1974; Daly 2006). M is what was measured and what is assumed,
 * together; C is the measured stall.
 */
export function bestIntervalMs({ stallSeconds, interruptions, trainedMs }: SaveCosts, workers: number): number {
  const costMs = Math.max(LEAST_COST_MS, 1000 * (stallSeconds ?? 0));
  const workerMs = trainedMs * workers + HOURS_PER_INTERRUPTION * MS_PER_HOUR;
  const betweenMs = workerMs / (interruptions + 1) / workers;
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, Math.sqrt(2 * costMs * betweenMs) - costMs));
}

interface SavedRun {
  readonly config: { readonly checkpoint: CheckpointConfig };
  readonly saveCosts: SaveCosts;
}

/**
 * Why a run that has just committed a step is to be saved because of the time, one clause; undefined where it is not. The
 * coordinator decides it, so that every rank saves the same step.
 *
 * @param askedMs when its generation was last asked to save: that checkpoint may still be under way
 */
export function saveIsDue(state: SavedRun, workers: number, askedMs: number, nowMs: number): string | undefined {
  const { everyMinutes } = state.config.checkpoint;
  if (everyMinutes === null) return undefined;
  const isAutomatic = everyMinutes === AUTOMATIC_INTERVAL;
  const intervalMs = isAutomatic ? bestIntervalMs(state.saveCosts, workers) : everyMinutes * 60_000;
  if (nowMs - Math.max(state.saveCosts.savedAtMs, askedMs) < intervalMs) return undefined;
  const minutes = Number((intervalMs / 60_000).toPrecision(2));
  return `it is saved, because its last checkpoint is ${minutes} min old${isAutomatic ? ' (auto)' : ''}`;
}
