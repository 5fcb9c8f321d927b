import { WeftError } from '@weft/common';
import { type RingPlace, ringName } from '../ring-place.js';
import type { ExchangeShape } from './exchange.js';
import type { Expectation } from './message-reader.js';
import type { BlockShape } from './row-counts.js';

/** An expert worker in errors: "expert worker 1 of run r-1, generation 3". */
export function expertWorkerName(place: Pick<RingPlace, 'runId' | 'generation'>, expertWorker: number): string {
  return `expert worker ${expertWorker} of ${ringName(place)}`;
}

/** What expert worker `index` holds. */
export function blockOf({ placement, groups, capacity, width }: ExchangeShape, index: number): BlockShape {
  const { first, end } = placement[index]!;
  return { firstExpert: first, experts: end - first, groups, capacity, width };
}

export function expectationOf(
  { generation }: Pick<RingPlace, 'generation'>,
  shape: ExchangeShape,
  index: number,
  isAnswer: boolean,
): Expectation {
  return { generation, isAnswer, shape: blockOf(shape, index), precision: shape.precision };
}

/** The error of an expert worker that is gone, as ranks see it. */
export function expertWorkerGone(place: RingPlace, index: number, how: string): WeftError {
  return new WeftError('unavailable', `${expertWorkerName(place, index)} is gone: ${how}`, {
    cure: `look at the log of expert worker ${index} for the reason`,
  });
}
