import { type Source, WeftError } from '@weft/common';
import { permute, unpermute } from './permute.js';

/** One sequence of a packed dataset, in one pass over it. */
export interface DatasetSequence {
  /** 0 for the first pass over the source. */
  readonly epoch: number;
  /** The number of the sequence in the index of its source. */
  readonly sequence: number;
}

/**
 * Which packed sequence a source gives as its `indexInSource`-th one: every epoch visits each sequence once, in an
 * order of its own that follows from seed, source and epoch. O(1) and without state, so that a position in the data
 * is a number.
 *
 * @param sourceSize number of packed sequences of the source.
 * @throws `failed_precondition` when the source holds no sequence, `invalid_argument` for a negative index.
 */
export function datasetSequence(
  indexInSource: number,
  sourceSize: number,
  seed: number,
  source: Source,
): DatasetSequence {
  checkSize(sourceSize, source);
  if (!Number.isSafeInteger(indexInSource) || indexInSource < 0)
    throw new WeftError('invalid_argument', `indexInSource is a non-negative integer, not ${indexInSource}`);
  const epoch = Math.floor(indexInSource / sourceSize);
  return { epoch, sequence: permute(indexInSource % sourceSize, sourceSize, orderName(seed, source, epoch)) };
}

/** The inverse of `datasetSequence`: the `indexInSource` at which a source gives this sequence in this epoch. */
export function indexInSourceOf(
  { epoch, sequence }: DatasetSequence,
  sourceSize: number,
  seed: number,
  source: Source,
): number {
  checkSize(sourceSize, source);
  return epoch * sourceSize + unpermute(sequence, sourceSize, orderName(seed, source, epoch));
}

function orderName(seed: number, source: Source, epoch: number): string {
  return `${seed}/${source}/${epoch}`;
}

function checkSize(sourceSize: number, source: Source): void {
  if (!(sourceSize >= 1))
    throw new WeftError('failed_precondition', `the source ${source} holds no sequence`, {
      cure: `add ${source} shards and index them, or set data.weights.${source}=0`,
    });
}
