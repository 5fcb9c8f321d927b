import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median, WeftError } from '@weft/common';
import { type MetricsRow, parseMetricsRow } from '@weft/contracts';
import { rotated } from '../plan.js';

/** Where the experts of a measured run are. */
export interface PlacementCase {
  /** 0: in the rank itself. */
  readonly expertWorkers: number;
  /** Of one rank; means nothing where experts are local. */
  readonly microbatchesInFlight: number;
}

/** What a step of a run took, on its one rank. */
export interface PlacementStep {
  readonly stepSeconds: number;
  /** Time in which nothing was computed because an answer of an expert worker was awaited. */
  readonly waitingSeconds: number;
  /** To the expert workers and back. */
  readonly bytes: number;
  readonly loss: number;
}

/** Steps of a run that are not counted: graphs are compiled in them. */
const COMPILING_STEPS = 4;

/**
 * The settings of a measured run: moeTiny on one rank, a sequence a microbatch, one thread a process, so that rank and
 * experts do not fight for one core before they must.
 */
function placementSettings(one: PlacementCase, steps: number, dataDirectory: string): readonly string[] {
  return [
    'workers=1',
    'microbatchSize=1',
    `steps=${COMPILING_STEPS + steps}`,
    `expertWorkers=${one.expertWorkers}`,
    `microbatchesInFlight=${one.microbatchesInFlight}`,
    'engine.threadsPerWorker=1',
    'checkpoint.everySteps=1000000',
    `data.directory=${dataDirectory}`,
  ];
}

/** Experts local once, expert workers with one and with two microbatches in flight. */
function placementCases(expertWorkers: readonly number[]): readonly PlacementCase[] {
  return expertWorkers.flatMap((count) =>
    (count === 0 ? [1] : [1, 2]).map((microbatchesInFlight) => ({ expertWorkers: count, microbatchesInFlight })),
  );
}

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const WEFT = join(REPOSITORY, 'apps/cli/bin/weft.js');
const DEMO_DATA = join(REPOSITORY, '.weft/data/demo');

/** @throws WeftError `not_found` when the demo data has not been fetched and indexed. */
function requireDemoData(): void {
  if (existsSync(join(DEMO_DATA, 'index'))) return;
  throw new WeftError('not_found', `there is no indexed demo data in ${DEMO_DATA}`, {
    hint: 'run `npx weft data fetch demo` and `npx weft data index moeTiny`, or leave this part out: --parts layer',
  });
}

/** Trains a run with real processes and returns what its steps took, those of the beginning left out. */
async function runPlacement(
  one: PlacementCase,
  options: { readonly home: string; readonly steps: number },
): Promise<readonly PlacementStep[]> {
  const { home, steps } = options;
  const settings = placementSettings(one, steps, DEMO_DATA).flatMap((setting) => ['--set', setting]);
  const words = ['launch', 'moeTiny', '--local', '1', ...settings, '--home', home, '--json'];
  await promisify(execFile)(process.execPath, [WEFT, ...words], { cwd: REPOSITORY, maxBuffer: 2 ** 26 });
  const [runId = ''] = await readdir(join(home, 'runs'));
  const text = await readFile(join(home, 'runs', runId, 'metrics.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .slice(COMPILING_STEPS)
    .flatMap((line) => parseMetricsRow(line) ?? [])
    .map(stepOf);
}

function stepOf({ loss, seconds, moe }: MetricsRow): PlacementStep {
  const { bytesSent = 0, bytesReceived = 0, waitingSeconds = 0 } = moe ?? {};
  const computed = Object.values(seconds).reduce<number>((sum, each) => sum + (each ?? 0), 0);
  return {
    stepSeconds: computed + waitingSeconds,
    waitingSeconds,
    bytes: bytesSent + bytesReceived,
    loss: loss ?? Number.NaN,
  };
}

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

/** Compares runs that differ only in where their experts are, round by round. @throws Error when their losses differ. */
export async function comparePlacements(options: PlacementOptions): Promise<readonly PlacementRow[]> {
  requireDemoData();
  const cases = placementCases(options.expertWorkers);
  const rounds = new Map<PlacementCase, (readonly PlacementStep[])[]>(cases.map((one) => [one, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const one of rotated(cases, round)) {
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
