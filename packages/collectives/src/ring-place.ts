import { WeftError } from '@weft/common';

/** The place of one process in one generation of one run: what connections are made for and errors name. */
export interface RingPlace {
  readonly runId: string;
  readonly generation: number;
  readonly rank: number;
  readonly worldSize: number;
}

export const MAX_RUN_ID_LENGTH = 256;

/** "run r-1, generation 3", for messages. */
export function ringName({ runId, generation }: Pick<RingPlace, 'runId' | 'generation'>): string {
  return `run ${runId}, generation ${generation}`;
}

/** Throws `invalid_argument` naming the field that is out of range. */
export function checkPlace({ runId, generation, rank, worldSize }: RingPlace): void {
  const refuse = (message: string) => {
    throw new WeftError('invalid_argument', message);
  };
  if (runId.length === 0 || runId.length > MAX_RUN_ID_LENGTH)
    refuse(`runId must have 1 to ${MAX_RUN_ID_LENGTH} characters, not ${runId.length}`);
  if (!Number.isSafeInteger(generation) || generation < 0)
    refuse(`generation must be a whole number of at least 0, not ${generation}`);
  if (!Number.isSafeInteger(worldSize) || worldSize < 1) refuse(`worldSize must be at least 1, not ${worldSize}`);
  if (!Number.isSafeInteger(rank) || rank < 0 || rank >= worldSize)
    refuse(`rank ${rank} is not one of the ranks 0 to ${worldSize - 1}`);
}

/** The error of a rank that is gone, as every other rank sees it. */
export function rankGone(place: RingPlace, rank: number, how: string): WeftError {
  return new WeftError('unavailable', `rank ${rank} of ${ringName(place)} is gone: ${how}`, {
    cure: `look at the log of rank ${rank} for the reason`,
  });
}
