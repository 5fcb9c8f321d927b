import { type SourceId, WeftError } from '@weft/common';
import { permuteInBlocks, type ShuffleBlocks, unpermuteInBlocks } from './block-order.js';
import { isHeldOut, positionInPlace, positionOfTrained, trainedInPlace, trainedSequence } from './held-out.js';
import { permute, unpermute } from './permute.js';

/** One sequence of a packed dataset, in one pass over it. */
export interface DatasetSequence {
  /** 0 for the first pass over the source. */
  readonly epoch: number;
  /** The number of the sequence in the index of its source. */
  readonly sequence: number;
}

/** How many packed sequences a source holds for a run, the held-out ones included, from its `first`-th one on. */
interface SourceSize {
  /** How many the run has taken of the source before: 0 for the beginning of the run. */
  readonly first: number;
  readonly sequences: number;
}

/** What decides the order in which a run takes the sequences of a source. */
interface SourceOrderOptions {
  readonly source: SourceId;
  /** Of the run. */
  readonly seed: number;
  /** In rising order. A source grows and does not shrink. */
  readonly sizes: readonly SourceSize[];
  /** How many sequences are never given; default: none. */
  readonly heldOut?: number;
  /** Of how many, the first of the source, those were chosen; default: of the first size. */
  readonly heldOutOf?: number;
  /** Keeps what is taken at about the same time near in the index; default null: a shuffle over the whole source. */
  readonly shuffle?: ShuffleBlocks | null;
}

/** A part of a run in which the source does not grow. */
interface Phase {
  /** The first `indexInSource`. */
  readonly first: number;
  /** Sequences that are trained on. */
  readonly trained: number;
  /** The number of its first epoch. */
  readonly epoch: number;
  /** Where the source grew in the middle of an epoch: what is left of that, with the new sequences among it. */
  readonly rest: Rest | undefined;
}

interface Rest {
  /** Sequences: those that are left and the new ones. */
  readonly length: number;
  /** How many are left. */
  readonly left: number;
  /** Positions of the order that was interrupted, before those that are left. */
  readonly given: number;
  /** The phase that was interrupted. */
  readonly before: Phase;
}

/**
 * Which packed sequence a source gives as its `indexInSource`-th one: every epoch visits each sequence once, in an
 * order of its own that follows from seed, source and epoch. O(1) and without state, so that a position in the data
 * is a number. Held-out sequences are never given.
 *
 * Where the source grows in the middle of an epoch, this epoch goes on with what is left of it and the new sequences, in a new
 * order: it still visits each sequence once. The next ones visit all.
 */
export class SourceOrder {
  readonly #options: Required<SourceOrderOptions>;
  readonly #phases: readonly Phase[];

  /** @throws `failed_precondition` when the source holds no sequence to train on, or shrinks */
  constructor(options: SourceOrderOptions) {
    // Of several at one place, such as before the run began, the last one holds.
    const sizes = options.sizes.filter(({ first }, at) => options.sizes[at + 1]?.first !== first);
    const [beginning = { first: 0, sequences: 0 }, ...later] = sizes;
    const { heldOut = 0, heldOutOf = beginning.sequences } = options;
    this.#options = { ...options, heldOut, heldOutOf, shuffle: options.shuffle ?? null };
    checkSize(beginning.sequences, heldOutOf, heldOut, options.source);
    const phases: Phase[] = [{ first: 0, trained: beginning.sequences - heldOut, epoch: 0, rest: undefined }];
    for (const { first, sequences } of later) {
      const before = phases.at(-1)!;
      const trained = sequences - heldOut;
      if (trained < before.trained)
        throw new WeftError(
          'failed_precondition',
          `the source ${options.source} shrinks to ${sequences} sequences at its number ${first}`,
        );
      if (trained > before.trained) phases.push(grown(before, first, trained));
    }
    this.#phases = phases;
  }

  /** @throws `invalid_argument` for a negative index */
  at(indexInSource: number): DatasetSequence {
    if (!Number.isSafeInteger(indexInSource) || indexInSource < 0)
      throw new WeftError('invalid_argument', `indexInSource is a non-negative integer, not ${indexInSource}`);
    const phase = this.#phases.findLast(({ first }) => first <= indexInSource)!;
    const { epoch, position } = epochAt(phase, indexInSource);
    return { epoch, sequence: this.#sequenceOf(this.#trainedAt(phase, epoch, position)) };
  }

  /** Whether a sequence is never given. */
  isHeldOut(sequence: number): boolean {
    const { heldOut, heldOutOf, source } = this.#options;
    return sequence < heldOutOf && isHeldOut(sequence, heldOutOf, heldOut, source);
  }

  /**
   * The inverse of `at`: every `indexInSource` in [from, end) that gives a sequence, in rising order; at most one for each
   * epoch.
   */
  *indicesOf(
    sequence: number,
    end: number,
    from = 0,
  ): Generator<{ readonly epoch: number; readonly indexInSource: number }> {
    if (this.isHeldOut(sequence)) return;
    const trained = this.#positionOf(sequence);
    for (const [number, phase] of this.#phases.entries()) {
      const phaseEnd = Math.min(end, this.#phases[number + 1]?.first ?? end);
      if (trained >= phase.trained || phaseEnd <= from) continue;
      const begin = Math.max(from, phase.first);
      const { epoch: firstEpoch, position: within } = epochAt(phase, begin);
      let epoch = firstEpoch;
      for (let first = begin - within; first < phaseEnd; epoch++) {
        const position = this.#positionIn(phase, epoch, trained);
        const indexInSource = first + (position ?? 0);
        if (position !== undefined && begin <= indexInSource && indexInSource < phaseEnd)
          yield { epoch, indexInSource };
        first += lengthOf(phase, epoch);
      }
    }
  }

  /** The number, among those that are trained on, of what an epoch of a phase gives at a position. */
  #trainedAt(phase: Phase, epoch: number, position: number): number {
    const { rest, trained } = phase;
    if (rest === undefined || epoch > phase.epoch) return this.#permute(position, trained, this.#orderName(epoch));
    const at = this.#permute(position, rest.length, this.#orderName(epoch, phase.first));
    return at < rest.left
      ? this.#trainedAt(rest.before, epoch, rest.given + at)
      : rest.before.trained + (at - rest.left);
  }

  /** The inverse of `#trainedAt`; undefined for what was given before this phase. */
  #positionIn(phase: Phase, epoch: number, trained: number): number | undefined {
    const { rest } = phase;
    if (rest === undefined || epoch > phase.epoch)
      return this.#unpermute(trained, phase.trained, this.#orderName(epoch));
    let at = rest.left + trained - rest.before.trained;
    if (trained < rest.before.trained) {
      const before = this.#positionIn(rest.before, epoch, trained);
      if (before === undefined || before < rest.given) return undefined;
      at = before - rest.given;
    }
    return this.#unpermute(at, rest.length, this.#orderName(epoch, phase.first));
  }

  #permute(index: number, size: number, name: string): number {
    const { shuffle } = this.#options;
    return shuffle === null ? permute(index, size, name) : permuteInBlocks(index, size, name, shuffle);
  }

  #unpermute(position: number, size: number, name: string): number {
    const { shuffle } = this.#options;
    return shuffle === null ? unpermute(position, size, name) : unpermuteInBlocks(position, size, name, shuffle);
  }

  #orderName(epoch: number, grownAt?: number): string {
    const { seed, source } = this.#options;
    return `${seed}/${source}/${epoch}${grownAt === undefined ? '' : `/${grownAt}`}`;
  }

  /** New sequences are never held out. */
  #sequenceOf(trained: number): number {
    const { heldOut, heldOutOf, source, shuffle } = this.#options;
    if (trained >= heldOutOf - heldOut) return trained + heldOut;
    return (shuffle === null ? trainedSequence : trainedInPlace)(trained, heldOutOf, heldOut, source);
  }

  #positionOf(sequence: number): number {
    const { heldOut, heldOutOf, source, shuffle } = this.#options;
    if (sequence >= heldOutOf) return sequence - heldOut;
    return (shuffle === null ? positionOfTrained : positionInPlace)(sequence, heldOutOf, heldOut, source);
  }
}

function grown(before: Phase, first: number, trained: number): Phase {
  const { epoch, position: given } = epochAt(before, first);
  // Between two epochs nothing is left.
  if (given === 0) return { first, trained, epoch, rest: undefined };
  const left = lengthOf(before, epoch) - given;
  return { first, trained, epoch, rest: { length: left + trained - before.trained, left, given, before } };
}

function epochAt(phase: Phase, indexInSource: number): { readonly epoch: number; readonly position: number } {
  const { epoch, rest, trained, first } = phase;
  const offset = indexInSource - first;
  if (rest !== undefined && offset < rest.length) return { epoch, position: offset };
  const whole = offset - (rest?.length ?? 0);
  const before = epoch + (rest === undefined ? 0 : 1);
  return { epoch: before + Math.floor(whole / trained), position: whole % trained };
}

const lengthOf = ({ epoch: firstEpoch, rest, trained }: Phase, epoch: number) =>
  rest !== undefined && epoch === firstEpoch ? rest.length : trained;

function checkSize(size: number, heldOutOf: number, heldOut: number, source: SourceId): void {
  if (!(size >= 1))
    throw new WeftError('failed_precondition', `the source ${source} holds no sequence`, {
      hint: `add ${source} shards and index them, or set data.weights.${source}=0`,
    });
  if (heldOut >= heldOutOf || heldOut >= size)
    throw new WeftError(
      'failed_precondition',
      `${heldOut} ${source} sequences are to be held out, but there are ${Math.min(size, heldOutOf)} in all`,
      { hint: `set evaluation.sequencesPerSource to less, or add ${source} shards` },
    );
}
