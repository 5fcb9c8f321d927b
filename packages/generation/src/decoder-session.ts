// Legend: S slots, L positions of a chunk, K tokens per image, D width, V vocabulary.
import { WeftError } from '@weft/common';
import { type DataConfig, type ImagePreprocessing, type ModelConfig, viewsPerPicture } from '@weft/config';
import { imagePixels } from '@weft/data';
import { type Executor, elementCount, type HostArray, itemAt, type PhaseInputs, type Program } from '@weft/tensor';
import { cacheNames, chunkLengths, type GenerationShape, imageBatch, PHASES } from './program.js';
import type { EncodedPrompt, ImageSegment } from './prompt.js';

/** A prompt with what the decoder reads of its images. */
export interface ReadyPrompt {
  /** As in `EncodedPrompt`. */
  readonly positions: Int32Array;
  /** What the decoder reads at a position of an image, by its entry in `positions`: D numbers. */
  readonly imageRow: (entry: number) => Float32Array;
}

/** Some positions of a prompt: from `first` up to, not including, `end`. */
export interface PromptRange {
  readonly first: number;
  readonly end: number;
}

/** The token that a slot's text goes on with. */
export interface NextToken {
  readonly tokenId: number;
  /** Positions of the text in the cache, without this token. */
  readonly length: number;
}

/** How likely the tokens of some positions were. */
export interface Scores {
  /** Of the given tokens, natural logarithms. */
  readonly logLikelihoods: Float32Array;
  /** The likeliest tokens. */
  readonly tokenIds: Int32Array;
}

/** Runs the phases of a generation program: turns prompts and tokens into their inputs, and outputs into arrays. */
export class DecoderSession {
  readonly #executor: Executor;
  readonly #model: ModelConfig;
  readonly #images: ImagePreprocessing;
  readonly #shape: GenerationShape;
  readonly #lengths: readonly number[];
  /** How many positions each slot holds, by slot. */
  readonly #held: number[] = [];
  /** By the bytes of the image. */
  #imageTokens = new WeakMap<Uint8Array, Float32Array>();

  constructor(
    executor: Executor,
    { model, data }: { readonly model: ModelConfig; readonly data: Pick<DataConfig, 'images'> },
    shape: GenerationShape,
  ) {
    this.#executor = executor;
    this.#model = model;
    this.#images = data.images;
    this.#shape = shape;
    this.#lengths = chunkLengths(shape.cacheLength);
  }

  /** Forgets what the images are to the decoder: the parameters are others now. */
  forgetImages(): void {
    this.#imageTokens = new WeakMap();
  }

  /** Empties the cache. Needed once, before anything is decoded. */
  async clearCache({ state }: Program): Promise<void> {
    for (let layer = 0; layer < this.#model.decoder.depth; layer++) {
      const zeros = cacheNames(layer).map((name) => {
        const { shape = [] } = state[name] ?? {};
        return [name, new Float32Array(elementCount(shape))] as const;
      });
      await this.#executor.writeState(Object.fromEntries(zeros));
    }
  }

  /**
   * Decodes and encodes the images of a prompt, those that were not seen before.
   * @throws WeftError `corrupt_data` for an image that is none
   */
  async ready({ positions, images }: EncodedPrompt): Promise<ReadyPrompt> {
    const known = this.#imageTokens;
    const unknown = [...new Map(images.map((image) => [image.bytes, image])).values()].filter(
      ({ bytes }) => !known.has(bytes),
    );
    await this.#encode(unknown);
    const tokens = images.map(({ bytes }) => known.get(bytes) ?? new Float32Array());
    const tokensPerImage = viewsPerPicture(this.#images) * this.#model.connector.tokensPerImage;
    const { width } = this.#model.decoder;
    const imageRow = (entry: number) => {
      const row = -1 - entry;
      const start = (row % tokensPerImage) * width;
      return itemAt(tokens, Math.floor(row / tokensPerImage)).subarray(start, start + width);
    };
    return { positions, imageRow };
  }

  /** Reads positions of a prompt into a slot that holds those before them. Returns the logits after the last one, [V]. */
  async prefill(slot: number, prompt: ReadyPrompt, { first, end }: PromptRange): Promise<Float32Array> {
    await this.#truncate(slot, first);
    let logits: Float32Array = new Float32Array();
    for (const { start, count, length } of this.#chunks(first, end)) {
      const inputs = { ...this.#chunkInputs(slot, prompt, start, count, length), last: Int32Array.of(count - 1) };
      logits = (await this.#run(PHASES.prefill(length), inputs)).floats('logits');
    }
    return logits;
  }

  /** Reads positions of a prompt into a slot, like `prefill`. @param targetIds the token that follows each of them */
  async score(
    slot: number,
    prompt: ReadyPrompt,
    { first, end }: PromptRange,
    targetIds: ArrayLike<number>,
  ): Promise<Scores> {
    await this.#truncate(slot, first);
    const logLikelihoods = new Float32Array(end - first);
    const tokenIds = new Int32Array(end - first);
    for (const { start, count, length } of this.#chunks(first, end)) {
      const targets = new Int32Array(length);
      for (let i = 0; i < count; i++) targets[i] = targetIds[start - first + i]!;
      const inputs = { ...this.#chunkInputs(slot, prompt, start, count, length), targetIds: targets };
      const outputs = await this.#run(PHASES.score(length), inputs);
      logLikelihoods.set(outputs.floats('logLikelihoods').subarray(0, count), start - first);
      tokenIds.set(outputs.ints('tokenIds').subarray(0, count), start - first);
    }
    return { logLikelihoods, tokenIds };
  }

  /** Reads one token into every slot that has one. Returns the logits after it by slot. */
  async decode(next: readonly (NextToken | undefined)[]): Promise<readonly Float32Array[]> {
    const logits = (await this.#run(PHASES.decode, this.#decodeInputs(next))).floats('logits');
    const { vocabularySize } = this.#shape;
    return next.map((_, slot) => logits.subarray(slot * vocabularySize, (slot + 1) * vocabularySize));
  }

  /** The same, and returns the likeliest token after it by slot. */
  async decodeGreedily(next: readonly (NextToken | undefined)[]): Promise<Int32Array> {
    return (await this.#run(PHASES.decodeGreedily, this.#decodeInputs(next))).ints('tokenIds');
  }

  /** Encodes the views of images, several at a time, and keeps what the decoder reads of each image. */
  async #encode(images: readonly ImageSegment[]): Promise<void> {
    const { vision, connector, decoder } = this.#model;
    const pixels = vision.imageSize ** 2 * 3;
    const views = viewsPerPicture(this.#images);
    const perView = connector.tokensPerImage * decoder.width;
    const perCall = Math.max(1, Math.floor(MOST_VIEWS_IN_MEMORY / views));
    for (let first = 0; first < images.length; first += perCall) {
      const some = images.slice(first, first + perCall);
      const decoded = await Promise.all(
        some.map(({ bytes, name }) => imagePixels(bytes, name, vision.imageSize, this.#images)),
      );
      const tokens = new Float32Array(some.length * views * perView);
      for (let view = 0; view < some.length * views; ) {
        const batch = imageBatch(some.length * views - view);
        const input = new Float32Array(batch * pixels);
        const count = Math.min(batch, some.length * views - view);
        for (let i = 0; i < count; i++) {
          const [image, own] = [Math.floor((view + i) / views), (view + i) % views];
          input.set(itemAt(decoded, image).subarray(own * pixels, (own + 1) * pixels), i * pixels);
        }
        const encoded = (await this.#run(PHASES.encodeImages(batch), { images: input })).floats('imageTokens');
        tokens.set(encoded.subarray(0, count * perView), view * perView);
        view += count;
      }
      for (const [i, { bytes }] of some.entries())
        this.#imageTokens.set(bytes, tokens.slice(i * views * perView, (i + 1) * views * perView));
    }
  }

  /** Cuts positions into chunks of compiled lengths, so that little is computed on padding and in few runs. */
  *#chunks(first: number, end: number) {
    for (let start = first; start < end; ) {
      const left = end - start;
      const costPerPosition = (length: number) => (length + RUN_COST) / Math.min(length, left);
      const length = this.#lengths.reduce((best, each) =>
        costPerPosition(each) < costPerPosition(best) ? each : best,
      );
      const count = Math.min(length, left);
      yield { start, count, length };
      start += count;
    }
  }

  #chunkInputs(slot: number, { positions, imageRow }: ReadyPrompt, start: number, count: number, length: number) {
    const { width } = this.#model.decoder;
    this.#held[slot] = start + count;
    const tokenIds = new Int32Array(length);
    const imageTokens = new Float32Array(length * width);
    const imageTokenIndex = new Int32Array(length);
    for (let i = 0; i < count; i++) {
      const entry = positions[start + i]!;
      if (entry >= 0) tokenIds[i] = entry;
      else {
        imageTokens.set(imageRow(entry), i * width);
        imageTokenIndex[i] = i + 1;
      }
    }
    return {
      slot: Int32Array.of(slot),
      start: Float32Array.of(start),
      isToken: new Float32Array(length).fill(1, 0, count),
      tokenIds,
      imageTokens,
      imageTokenIndex,
    };
  }

  /** Forgets what a slot holds behind so many positions. */
  async #truncate(slot: number, length: number): Promise<void> {
    const { slots, cacheLength } = this.#shape;
    if ((this.#held[slot] ?? 0) > length) {
      const lengths = Float32Array.from({ length: slots }, (_, i) => (i === slot ? length : cacheLength));
      await this.#run(PHASES.truncate, { lengths });
    }
    this.#held[slot] = length;
  }

  #decodeInputs(next: readonly (NextToken | undefined)[]) {
    for (const [slot, each] of next.entries()) if (each !== undefined) this.#held[slot] = each.length + 1;
    return {
      tokenIds: Int32Array.from(next, (each) => each?.tokenId ?? 0),
      lengths: Float32Array.from(next, (each) => each?.length ?? 0),
      isToken: Float32Array.from(next, (each) => (each === undefined ? 0 : 1)),
    };
  }

  async #run(phase: string, inputs: PhaseInputs): Promise<PhaseOutputs> {
    const outputs = await this.#executor.run(phase, inputs);
    const arrays = Object.entries(outputs).map(([name, tensor]) => [name, tensor.data.slice()] as const);
    for (const tensor of Object.values(outputs)) tensor.dispose();
    return new PhaseOutputs(phase, Object.fromEntries(arrays));
  }
}

/** Views whose pixels are decoded before they are encoded. */
const MOST_VIEWS_IN_MEMORY = 8;

/** What a run costs beside its positions, in positions: decides when padding is cheaper than another run. */
const RUN_COST = 32;

class PhaseOutputs {
  readonly #phase: string;
  readonly #arrays: Readonly<Record<string, HostArray>>;

  constructor(phase: string, arrays: Readonly<Record<string, HostArray>>) {
    this.#phase = phase;
    this.#arrays = arrays;
  }

  floats(name: string): Float32Array {
    const array = this.#arrays[name];
    if (array instanceof Float32Array) return array;
    throw new WeftError('internal', `phase ${this.#phase} gave no output ${name} of float32`);
  }

  ints(name: string): Int32Array {
    const array = this.#arrays[name];
    if (array instanceof Int32Array) return array;
    throw new WeftError('internal', `phase ${this.#phase} gave no output ${name} of int32`);
  }
}
