import { mapSources, ofSource, type SourceId, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { PageConsumptions, PageSequence, PageStep } from '@weft/contracts';
import type { Dataset } from '@weft/data';
import type { Home } from '@weft/files';
import { datasetSequence, indexInSourceOf, isHeldOut, scheduleOf, stepRanges } from '@weft/mixture';
import { batchOfStep, stepOfBatch } from '@weft/topology';
import type { Content } from './http.js';

type Segment = Awaited<ReturnType<Dataset['readSequence']>>['segments'][number];

/** What stands for an image among the token ids of a segment. */
const IMAGE_ENTRY = -1;
/** A step of a large batch is shown by its first sequences. */
const MOST_SEQUENCES = 64;
const MOST_OPEN_DATASETS = 4;

/** What the steps of runs consumed, decoded from the data set where this machine has it. */
export class StepContents {
  readonly #home: Home;
  /** By what determines them. The oldest is closed when there are too many. */
  readonly #open = new Map<string, Promise<Dataset>>();

  constructor(home: Home) {
    this.#home = home;
  }

  /** @throws WeftError as `Dataset.open`, where the data set is not on this machine */
  async ofStep(config: RunConfig, step: number): Promise<PageStep> {
    const dataset = await this.#dataset(config);
    const { skippedBatches } = config.data;
    const ranges = stepRanges(scheduleOf(config.data), config.globalBatchSize, step, skippedBatches);
    const heldOut = config.evaluation.sequencesPerSource;
    const named = Object.entries(
      mapSources(ranges, ({ first, end }, source) => {
        const size = ofSource(dataset.sequences, source);
        const indices = Array.from({ length: end - first }, (_, at) => first + at);
        return indices.map((index) => datasetSequence(index, size, config.seed, source, heldOut));
      }),
    ).flatMap(([source, sequences]) => sequences.map((each) => ({ source, ...each })));
    const shown = named.slice(0, MOST_SEQUENCES);
    const sequences = shown.map(({ source, sequence, epoch }) => readSequence(dataset, source, sequence, epoch));
    return { step, sequenceCount: named.length, sequences: await Promise.all(sequences) };
  }

  /** A sequence by its number, and the steps up to `lastStep` that consumed it. @throws as `ofStep` */
  async ofSequence(config: RunConfig, source: SourceId, index: number, lastStep: number): Promise<PageConsumptions> {
    const dataset = await this.#dataset(config);
    const sequence = await readSequence(dataset, source, index, null);
    const size = ofSource(dataset.sequences, source);
    const heldOut = config.evaluation.sequencesPerSource;
    if (isHeldOut(index, size, heldOut, source)) return { sequence, isHeldOut: true, consumptions: [] };
    const { skippedBatches } = config.data;
    const schedule = scheduleOf(config.data);
    // What the first batches hold, those that are skipped among them.
    const heldBy = (batches: number) => ofSource(schedule.countsBefore(batches * config.globalBatchSize), source);
    const lastBatch = lastStep === 0 ? 0 : batchOfStep(lastStep, skippedBatches);
    const consumptions: { step: number; epoch: number }[] = [];
    for (let epoch = 0; epoch * (size - heldOut) < heldBy(lastBatch); epoch++) {
      const position = indexInSourceOf({ epoch, sequence: index }, size, config.seed, source, heldOut);
      if (position >= heldBy(lastBatch)) break;
      const step = stepOfBatch(
        firstBatch(lastBatch, (batch) => heldBy(batch) > position),
        skippedBatches,
      );
      if (step !== undefined) consumptions.push({ epoch, step });
    }
    return { sequence, isHeldOut: false, consumptions };
  }

  /** The file of an image of a sequence, as it is in its shard. @throws WeftError `not_found` */
  async image(config: RunConfig, source: SourceId, index: number, image: number): Promise<Content> {
    const dataset = await this.#dataset(config);
    const { segments } = await dataset.readSequence(source, index);
    const location = segments.flatMap(({ images }) => images)[image];
    if (location === undefined)
      throw new WeftError('not_found', `the ${source} sequence ${index} has no image ${image}`);
    const bytes = await dataset.readImageFile(source, location);
    const type = imageType(bytes);
    if (type === undefined) throw new WeftError('not_found', `image ${image} has a form that browsers do not show`);
    return { type, bytes };
  }

  async close(): Promise<void> {
    for (const dataset of this.#open.values()) await (await dataset.catch(() => undefined))?.close();
    this.#open.clear();
  }

  async #dataset({ data, model }: RunConfig): Promise<Dataset> {
    const { directory, tokenizer } = data;
    const here = {
      ...data,
      directory: this.#home.resolvePath(directory),
      tokenizer: tokenizer === 'bytes' ? tokenizer : this.#home.resolvePath(tokenizer),
    };
    const key = JSON.stringify([here, model.sequenceLength, model.vision, model.connector]);
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    // Loaded when it is needed: it brings the decoder of images.
    const opening = import('@weft/data').then((module) => module.Dataset.open({ data: here, model }));
    this.#open.set(key, opening);
    opening.catch(() => this.#open.delete(key));
    for (const [oldest, dataset] of this.#open) {
      if (this.#open.size <= MOST_OPEN_DATASETS) break;
      this.#open.delete(oldest);
      void dataset.then((each) => each.close()).catch(() => {});
    }
    return opening;
  }
}

async function readSequence(
  dataset: Dataset,
  source: SourceId,
  index: number,
  epoch: number | null,
): Promise<PageSequence> {
  const { segments, positions } = await dataset.readSequence(source, index);
  let images = 0;
  return {
    source,
    index,
    epoch,
    positions,
    capacity: dataset.limits.sequenceLength,
    segments: segments.map((segment) => {
      const pieces = decode(segment, (ids) => dataset.tokenizer.decode(ids), images);
      images += segment.images.length;
      return { document: segment.document, part: segment.part, pieces };
    }),
  };
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

/** Only forms that hold pictures and nothing else: an SVG of a data set is a document with scripts. */
function imageType(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 12)).toString('latin1');
  if (head.startsWith('\x89PNG')) return 'image/png';
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (head.startsWith('GIF8')) return 'image/gif';
  if (head.startsWith('RIFF') && head.endsWith('WEBP')) return 'image/webp';
  if (/^....ftypavi[fs]/s.test(head)) return 'image/avif';
  return undefined;
}
