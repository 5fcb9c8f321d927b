import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { SegmentContents, SequenceContents } from '@weft/contracts';
import { type DatasetSequence, RunSequences, scheduleOf } from '@weft/mixture';
import { batchOfStep, type Range, stepOfBatch } from '@weft/topology';
import type { Dataset } from './dataset.js';
import { IMAGE_ENTRY, type Segment } from './packed-sequence.js';

/** Of a run, what decides which sequences it takes. */
export type TakenBy = Pick<RunConfig, 'data' | 'globalBatchSize' | 'seed' | 'evaluation'>;

/** When a packed sequence was taken. */
export interface StepOfSequence {
  readonly step: number;
  /** 0 for the first pass over the source. */
  readonly epoch: number;
}

/**
 * What a run takes of a data set, in numbers and in texts: the answers of the ledger and of the page. Sequences have the number of
 * the index of their source everywhere.
 */
export class RunContents {
  readonly #dataset: Dataset;
  readonly #config: TakenBy;
  readonly sequences: RunSequences;

  /** @throws WeftError `failed_precondition` where the run reads a version of the index that is not there */
  constructor(dataset: Dataset, config: TakenBy) {
    this.#dataset = dataset;
    this.#config = config;
    this.sequences = new RunSequences({
      ...{ schedule: scheduleOf(config), versions: dataset.versions, seed: config.seed },
      heldOutPerSource: config.evaluation.sequencesPerSource,
      // Runs of older versions do not name it.
      shuffle: config.data.shuffle ?? null,
    });
  }

  /** How many versions the index has. */
  get versions(): number {
    return this.#dataset.versions.length;
  }

  /** The packed sequences that some ranges of `indexInSource` are. */
  named(ranges: PerSource<Range>): PerSource<readonly DatasetSequence[]> {
    return mapSources(ranges, (range, source) => this.sequences.ofSource(source, range));
  }

  /** The steps up to `lastStep` that took a sequence, by its number in the index. @throws WeftError `not_found` */
  stepsOf(source: SourceId, index: number, lastStep: number): readonly StepOfSequence[] {
    this.#check(source, index);
    const { globalBatchSize, data } = this.#config;
    const { schedule } = this.sequences;
    const lastBatch = lastStep === 0 ? 0 : batchOfStep(lastStep, data.skippedBatches);
    // What the first batches hold, those that are skipped among them.
    const heldBy = (batches: number) => ofSource(schedule.countsBefore(batches * globalBatchSize), source);
    return [...this.sequences.takenAt(source, index, heldBy(lastBatch))].flatMap(({ epoch, indexInSource }) => {
      const batch = firstBatch(lastBatch, (each) => heldBy(each) > indexInSource);
      const step = stepOfBatch(batch, data.skippedBatches);
      return step === undefined ? [] : [{ step, epoch }];
    });
  }

  /** Whether a sequence is never trained on. @throws WeftError `not_found` */
  isHeldOut(source: SourceId, index: number): boolean {
    this.#check(source, index);
    return this.sequences.isHeldOut(source, index);
  }

  /**
   * A sequence, decoded.
   *
   * @param options.names with the shards and keys of its documents, and the files and members of its images; default: without, because images are looked for in the shards
   */
  async read(
    source: SourceId,
    index: number,
    { epoch = null, names = false }: { readonly epoch?: number | null; readonly names?: boolean } = {},
  ): Promise<SequenceContents> {
    this.#check(source, index);
    const { segments, positions } = await this.#dataset.readSequence(source, index);
    const read: SegmentContents[] = [];
    let images = 0;
    for (const segment of segments) {
      const pieces = decode(segment, (ids) => this.#dataset.tokenizer.decode(ids), images);
      images += segment.images.length;
      const { document, part } = segment;
      read.push({ document, part, pieces, ...(names ? await this.#names(source, segment) : {}) });
    }
    return { source, index, epoch, positions, capacity: this.#dataset.limits.sequenceLength, segments: read };
  }

  async #names(
    source: SourceId,
    { document, images }: Segment,
  ): Promise<Pick<SegmentContents, 'images' | 'shard' | 'key'>> {
    const names: string[] = [];
    for (const image of images) names.push(await this.#dataset.imageName(source, image));
    return { images: names, ...(await this.#dataset.documentName(source, document)) };
  }

  #check(source: SourceId, index: number): void {
    const size = ofSource(this.#dataset.sequences, source);
    if (Number.isSafeInteger(index) && index >= 0 && index < size) return;
    throw new WeftError('not_found', `there is no sequence ${source}:${index}`, {
      hint: size === 0 ? 'choose another source' : `choose one from ${source}:0 to ${source}:${size - 1}`,
    });
  }
}

/** Texts and images in order. @param firstImage the number of the segment's first image in its sequence */
function decode({ entries }: Segment, decodeText: (ids: Iterable<number>) => string, firstImage: number) {
  const pieces: ({ text: string } | { image: number })[] = [];
  let image = firstImage;
  let begin = 0;
  const flush = (end: number) => {
    const text = decodeText(entries.subarray(begin, end));
    if (text !== '') pieces.push({ text });
  };
  for (let at = 0; at < entries.length; at++) {
    if (entries[at] !== IMAGE_ENTRY) continue;
    flush(at);
    pieces.push({ image: image++ });
    begin = at + 1;
  }
  flush(entries.length);
  return pieces;
}

/** The first batch in [1, last] for which it holds; it holds for `last`, and for every batch after one for which it does. */
function firstBatch(last: number, holds: (batch: number) => boolean): number {
  let low = 1;
  let high = last;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
