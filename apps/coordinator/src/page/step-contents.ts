import { mapSources, type SourceId, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { PageConsumptions, PageStep } from '@weft/contracts';
import type { Dataset, RunContents } from '@weft/data';
import type { Home } from '@weft/files';
import { stepRanges } from '@weft/mixture';
import type { Content } from './http.js';

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
    const contents = await this.#contents(config);
    const { schedule } = contents.sequences;
    const ranges = stepRanges(schedule, config.globalBatchSize, step, config.data.skippedBatches);
    const named = Object.entries(contents.named(ranges)).flatMap(([source, sequences]) =>
      sequences.map((each) => ({ source, ...each })),
    );
    const shown = named.slice(0, MOST_SEQUENCES);
    const sequences = shown.map(({ source, sequence, epoch }) => contents.read(source, sequence, { epoch }));
    return { step, sequenceCount: named.length, sequences: await Promise.all(sequences) };
  }

  /** A sequence by its number, and the steps up to `lastStep` that consumed it. @throws as `ofStep` */
  async ofSequence(config: RunConfig, source: SourceId, index: number, lastStep: number): Promise<PageConsumptions> {
    const contents = await this.#contents(config);
    const sequence = await contents.read(source, index);
    const isHeldOut = contents.isHeldOut(source, index);
    return { sequence, isHeldOut, consumptions: isHeldOut ? [] : contents.stepsOf(source, index, lastStep) };
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

  async #contents(config: RunConfig): Promise<RunContents> {
    const [dataset, { RunContents: Contents }] = await Promise.all([this.#dataset(config), import('@weft/data')]);
    return new Contents(dataset, config);
  }

  async #dataset({ data, model }: RunConfig): Promise<Dataset> {
    const { directory, tokenizer, index, datasets } = data;
    const here = {
      ...data,
      directory: this.#home.resolvePath(directory),
      tokenizer: tokenizer === 'bytes' ? tokenizer : this.#home.resolvePath(tokenizer),
      index: index === null ? null : this.#home.resolvePath(index),
      datasets: mapSources(datasets, (dataset) => ({
        ...dataset,
        directory: dataset.directory === null ? null : this.#home.resolvePath(dataset.directory),
      })),
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
