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
export const COMPILING_STEPS = 4;

/**
 * The settings of a measured run: moeTiny on one rank, a sequence a microbatch, one thread a process, so that rank and
 * experts do not fight for one core before they must.
 */
export function placementSettings(one: PlacementCase, steps: number, dataDirectory: string): readonly string[] {
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
export function placementCases(expertWorkers: readonly number[]): readonly PlacementCase[] {
  return expertWorkers.flatMap((count) =>
    (count === 0 ? [1] : [1, 2]).map((microbatchesInFlight) => ({ expertWorkers: count, microbatchesInFlight })),
  );
}
