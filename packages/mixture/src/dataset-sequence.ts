import { type SourceId, WeftError } from '@weft/common';
import { isHeldOut, positionOfTrained, trainedSequence } from './held-out.js';
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
 * is a number. Held-out sequences are never given.
 *
 * @param sourceSize number of packed sequences of the source, the held-out ones included.
 * @param heldOut how many of them are held out; default none.
 * @throws `failed_precondition` when the source holds no sequence to train on, `invalid_argument` for a negative index.
 */
export function datasetSequence(
  indexInSource: number,
  sourceSize: number,
  seed: number,
  source: SourceId,
  heldOut = 0,
): DatasetSequence {
  checkSize(sourceSize, heldOut, source);
  if (!Number.isSafeInteger(indexInSource) || indexInSource < 0)
    throw new WeftError('invalid_argument', `indexInSource is a non-negative integer, not ${indexInSource}`);
  const trained = sourceSize - heldOut;
  const epoch = Math.floor(indexInSource / trained);
  const position = permute(indexInSource % trained, trained, orderName(seed, source, epoch));
  return { epoch, sequence: trainedSequence(position, sourceSize, heldOut, source) };
}

/**
 * The inverse of `datasetSequence`: the `indexInSource` at which a source gives this sequence in this epoch.
 *
 * @throws `invalid_argument` for a sequence that is held out: it is never given.
 */
export function indexInSourceOf(
  { epoch, sequence }: DatasetSequence,
  sourceSize: number,
  seed: number,
  source: SourceId,
  heldOut = 0,
): number {
  checkSize(sourceSize, heldOut, source);
  if (isHeldOut(sequence, sourceSize, heldOut, source))
    throw new WeftError('invalid_argument', `the ${source} sequence ${sequence} is held out`);
  const trained = sourceSize - heldOut;
  const position = positionOfTrained(sequence, sourceSize, heldOut, source);
  return epoch * trained + unpermute(position, trained, orderName(seed, source, epoch));
}

function orderName(seed: number, source: SourceId, epoch: number): string {
  return `${seed}/${source}/${epoch}`;
}

function checkSize(sourceSize: number, heldOut: number, source: SourceId): void {
  if (!(sourceSize >= 1))
    throw new WeftError('failed_precondition', `the source ${source} holds no sequence`, {
      hint: `add ${source} shards and index them, or set data.weights.${source}=0`,
    });
  if (heldOut >= sourceSize)
    throw new WeftError(
      'failed_precondition',
      `${heldOut} ${source} sequences are to be held out, but there are ${sourceSize} in all`,
      { hint: `set evaluation.sequencesPerSource to less, or add ${source} shards` },
    );
}
