import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { turnOrder } from '../plan.js';
import { median } from '../statistics.js';
import { type PlacementCase, type PlacementStep, placementCases } from './placement-case.js';
import { requireDemoData, runPlacement } from './placement-run.js';

export interface PlacementOptions {
  readonly expertWorkers: readonly number[];
  readonly rounds: number;
  readonly steps: number;
  readonly onProgress: (what: string) => void;
}

export interface PlacementRow extends PlacementCase {
  /** Medians over the steps of all rounds. */
  readonly stepSeconds: number;
  readonly waitingSeconds: number;
  readonly bytesPerStep: number;
  /** All waiting over the time of all steps. */
  readonly waitingShare: number;
  /** Waiting over that of one microbatch in flight, the median of the rounds' ratios; undefined for that one. */
  readonly waitingRatio: number | undefined;
}

/** Two placements are the same model: losses may differ by rounding, which tips a token now and then. */
const TOLERANCE = 1e-3;

/** Lets runs that differ only in the place of their experts take turns, round by round. @throws Error when their losses differ. */
export async function racePlacements(options: PlacementOptions): Promise<readonly PlacementRow[]> {
  requireDemoData();
  const cases = placementCases(options.expertWorkers);
  const rounds = new Map<PlacementCase, (readonly PlacementStep[])[]>(cases.map((one) => [one, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const one of turnOrder(cases, round)) {
      options.onProgress(`round ${round + 1} of ${options.rounds}: ${describePlacement(one)}`);
      const home = await mkdtemp(join(tmpdir(), 'weft-bench-moe-'));
      try {
        rounds.get(one)?.push(await runPlacement(one, { home, steps: options.steps }));
      } finally {
        await rm(home, { recursive: true, force: true });
      }
    }
    if (round === 0) requireSameLosses(cases, rounds);
  }
  return cases.map((one) => rowOf(one, rounds));
}

export function describePlacement({ expertWorkers, microbatchesInFlight }: PlacementCase): string {
  if (expertWorkers === 0) return 'experts local';
  const workers = expertWorkers === 1 ? '1 expert worker' : `${expertWorkers} expert workers`;
  return `${workers}, ${microbatchesInFlight} in flight`;
}

function requireSameLosses(
  cases: readonly PlacementCase[],
  rounds: ReadonlyMap<PlacementCase, readonly (readonly PlacementStep[])[]>,
): void {
  const lossOf = (one: PlacementCase) => rounds.get(one)?.[0]?.[0]?.loss ?? Number.NaN;
  const [first, ...others] = cases;
  if (first === undefined) return;
  for (const other of others) {
    const difference = Math.abs(lossOf(other) / lossOf(first) - 1);
    if (!(difference <= TOLERANCE))
      throw new Error(
        `${describePlacement(other)} trains another model than ${describePlacement(first)}: losses differ by ${difference.toExponential(1)}`,
      );
  }
}

function rowOf(
  one: PlacementCase,
  rounds: ReadonlyMap<PlacementCase, readonly (readonly PlacementStep[])[]>,
): PlacementRow {
  const own = rounds.get(one) ?? [];
  const steps = own.flat();
  const total = (of: 'stepSeconds' | 'waitingSeconds') => steps.reduce((sum, step) => sum + step[of], 0);
  const middle = (of: keyof PlacementStep) => median(steps.map((step) => step[of]));
  const alone = [...rounds].find(
    ([other]) => other.expertWorkers === one.expertWorkers && other.microbatchesInFlight === 1,
  )?.[1];
  const waitingOf = (round: readonly PlacementStep[] = []) => median(round.map((step) => step.waitingSeconds));
  const isAlone = one.microbatchesInFlight === 1 || alone === undefined;
  return {
    ...one,
    stepSeconds: middle('stepSeconds'),
    waitingSeconds: middle('waitingSeconds'),
    bytesPerStep: middle('bytes'),
    waitingShare: total('waitingSeconds') / total('stepSeconds'),
    waitingRatio: isAlone ? undefined : median(own.map((round, i) => waitingOf(round) / waitingOf(alone[i]))),
  };
}
