import { refuse, WeftError } from '@weft/common';

/** One generation of one run. */
export interface GenerationId {
  readonly runId: string;
  readonly generation: number;
}

/** One rank of one generation: who connections are made for, and what errors name. */
export interface RankId extends GenerationId {
  readonly rank: number;
  readonly worldSize: number;
}

/** The hello of a handshake, which holds the id, must fit into a frame. */
const MAX_RUN_ID_LENGTH = 256;

/** "run r-1, generation 3", for messages. */
export function generationName({ runId, generation }: GenerationId): string {
  return `run ${runId}, generation ${generation}`;
}

/** @throws WeftError `invalid_argument` naming the field that is out of range. */
export function checkRankId({ runId, generation, rank, worldSize }: RankId): void {
  if (runId.length === 0 || runId.length > MAX_RUN_ID_LENGTH)
    refuse('invalid_argument', `runId must have 1 to ${MAX_RUN_ID_LENGTH} characters, not ${runId.length}`);
  if (!Number.isSafeInteger(generation) || generation < 0)
    refuse('invalid_argument', `generation must be a whole number of at least 0, not ${generation}`);
  if (!Number.isSafeInteger(worldSize) || worldSize < 1)
    refuse('invalid_argument', `worldSize must be at least 1, not ${worldSize}`);
  if (!Number.isSafeInteger(rank) || rank < 0 || rank >= worldSize)
    refuse('invalid_argument', `rank ${rank} is not one of the ranks 0 to ${worldSize - 1}`);
}

/**
 * The error of a rank that is gone, as its peers report it.
 *
 * @param how the sign that it is gone: "its connection to rank 1 closed"
 */
export function rankGone(generation: GenerationId, rank: number, how: string): WeftError {
  return new WeftError('unavailable', `rank ${rank} of ${generationName(generation)} is gone: ${how}`, {
    hint: `look at the log of rank ${rank} for the reason`,
  });
}
