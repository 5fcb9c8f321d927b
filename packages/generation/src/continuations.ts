import { Random, WeftError } from '@weft/common';
import type { DecoderSession, NextToken, ReadyPrompt } from './decoder-session.js';
import { encodePrompt, type Prompt, type PromptLimits } from './prompt.js';
import { sample } from './sampling.js';
import { TextStream } from './text-stream.js';

/** A prompt, or what reads it when its turn comes: a batch of thousands of images need not be in memory. */
export type PromptSource = Prompt | (() => Promise<Prompt>);

/** How prompts are continued. */
export interface GenerateOptions {
  /** Tokens, the end of the text not counted. */
  readonly maxNewTokens: number;
  /** 0 takes the likeliest token each time; above it, what logits are divided by. Default: 0. */
  readonly temperature?: number;
  /** Draws from the likeliest tokens that together have at least this probability. Default: 1, from all. */
  readonly topP?: number;
  /** Texts that end a continuation; they are not part of it. Default: none. */
  readonly stop?: readonly string[];
  /** Of all draws, together with the number of the prompt. Default: 0. */
  readonly seed?: number;
  /** The number of the first prompt: a batch that goes on draws as if it had not been interrupted. Default: 0. */
  readonly firstIndex?: number;
  /** What the token that ends a document does. Default: it ends the continuation. */
  readonly endOfText?: 'stop' | 'ignore';
  /** What becomes of a prompt that leaves no room for a continuation. Default: `refuse`. */
  readonly longPrompt?: 'refuse' | 'cutBeginning';
  readonly signal?: AbortSignal;
}

/** Why a continuation ended. `sequenceLength`: the model reads no further; `failed`: its prompt could not be read. */
export type FinishReason = 'endOfText' | 'stop' | 'maxNewTokens' | 'sequenceLength' | 'failed';

/** What came of one prompt since its last event. */
export interface GenerationEvent {
  /** The number of the prompt, from `firstIndex`. */
  readonly index: number;
  /** Text that is certain now: whole characters, and no beginning of a stop text. */
  readonly text: string;
  /** The tokens behind it, and behind what is still kept back. */
  readonly tokenIds: readonly number[];
  readonly done: boolean;
  /** Null while it is not done. */
  readonly reason: FinishReason | null;
  /** Why it failed. */
  readonly error?: WeftError;
}

/** What reads prompts and decodes tokens: a `DecoderSession`, or a test's. */
export type TokenSource = Pick<DecoderSession, 'ready' | 'prefill' | 'decode' | 'decodeGreedily'>;

/** One prompt in a slot. */
interface Slot {
  readonly index: number;
  readonly random: Random;
  readonly stream: TextStream;
  /** Positions in the cache. */
  length: number;
  newTokens: number;
  /** The last token, not in the cache yet. */
  tokenId: number;
}

/** The continuations of one call: keeps slots filled with prompts, and decodes them together. */
export class Continuations {
  readonly #session: TokenSource;
  readonly #limits: PromptLimits;
  readonly #slots: (Slot | undefined)[];
  readonly #options: Required<Omit<GenerateOptions, 'signal'>>;
  readonly #signal: AbortSignal | undefined;

  /** @throws WeftError `invalid_argument` for options out of range */
  constructor(session: TokenSource, limits: PromptLimits, slots: number, options: GenerateOptions) {
    const { signal, ...rest } = options;
    this.#session = session;
    this.#limits = limits;
    this.#slots = Array.from({ length: slots }, () => undefined);
    this.#signal = signal;
    this.#options = {
      temperature: 0,
      topP: 1,
      stop: [],
      seed: 0,
      firstIndex: 0,
      endOfText: 'stop',
      longPrompt: 'refuse',
      ...rest,
    };
    checkOptions(this.#options);
  }

  async *run(prompts: Iterable<PromptSource> | AsyncIterable<PromptSource>): AsyncGenerator<GenerationEvent, void> {
    const waiting = numbered(prompts, this.#options.firstIndex);
    let isOver = false;
    for (;;) {
      for (const [slot, occupant] of this.#slots.entries()) {
        // A prompt may be over with its first token, and leaves the slot to the next one.
        for (let isFree = occupant === undefined; isFree && !isOver; isFree = this.#slots[slot] === undefined) {
          this.#checkSignal();
          const next = await waiting.next();
          if (next.done === true) isOver = true;
          else yield await this.#begin(slot, next.value.prompt, next.value.index);
        }
      }
      if (this.#slots.every((slot) => slot === undefined)) return;
      this.#checkSignal();
      yield* await this.#step();
    }
  }

  /** Reads a prompt into a slot and chooses its first token. */
  async #begin(slot: number, source: PromptSource, index: number): Promise<GenerationEvent> {
    const { seed, stop, longPrompt, maxNewTokens } = this.#options;
    const { sequenceLength, tokenizer } = this.#limits;
    let ready: ReadyPrompt;
    try {
      const prompt = typeof source === 'function' ? await source() : source;
      const cutTo = longPrompt === 'refuse' ? undefined : Math.max(1, sequenceLength - maxNewTokens);
      ready = await this.#session.ready(encodePrompt(prompt, this.#limits, cutTo));
    } catch (thrown) {
      const error = WeftError.from(thrown);
      if (error.code === 'internal') throw thrown;
      return { index, text: '', tokenIds: [], done: true, reason: 'failed', error };
    }
    const { length } = ready.positions;
    const logits = await this.#session.prefill(slot, ready, { first: 0, end: length });
    const random = Random.of(seed, 'sample', index);
    const begun: Slot = { index, random, stream: new TextStream(tokenizer, stop), length, newTokens: 0, tokenId: 0 };
    this.#slots[slot] = begun;
    return this.#take(slot, begun, sample(logits, this.#options, random));
  }

  /** Decodes one token in every slot. */
  async #step(): Promise<readonly GenerationEvent[]> {
    const next = this.#slots.map((slot): NextToken | undefined => slot);
    const chosen = await this.#choose(next);
    return this.#slots.flatMap((slot, number) => {
      if (slot === undefined) return [];
      slot.length++;
      return [this.#take(number, slot, chosen(number, slot))];
    });
  }

  async #choose(next: readonly (NextToken | undefined)[]): Promise<(number: number, slot: Slot) => number> {
    if (this.#options.temperature === 0) {
      const ids = await this.#session.decodeGreedily(next);
      return (number) => ids[number]!;
    }
    const logits = await this.#session.decode(next);
    return (number, { random }) => sample(logits[number]!, this.#options, random);
  }

  /** A token was chosen for a slot. */
  #take(number: number, slot: Slot, tokenId: number): GenerationEvent {
    const { maxNewTokens, endOfText } = this.#options;
    const { index, stream } = slot;
    const end = (reason: FinishReason, text: string, tokenIds: readonly number[]): GenerationEvent => {
      this.#slots[number] = undefined;
      return { index, text: text + stream.end(), tokenIds, done: true, reason };
    };
    if (tokenId === this.#limits.tokenizer.endOfTextId && endOfText === 'stop') return end('endOfText', '', []);
    slot.newTokens++;
    slot.tokenId = tokenId;
    const text = stream.add(tokenId);
    if (stream.stopped) return end('stop', text, [tokenId]);
    if (slot.newTokens === maxNewTokens) return end('maxNewTokens', text, [tokenId]);
    // The token itself needs a position before another one can follow.
    if (slot.length === this.#limits.sequenceLength) return end('sequenceLength', text, [tokenId]);
    return { index, text, tokenIds: [tokenId], done: false, reason: null };
  }

  #checkSignal(): void {
    if (this.#signal?.aborted) throw new WeftError('cancelled', 'the generation was cancelled');
  }
}

async function* numbered(prompts: Iterable<PromptSource> | AsyncIterable<PromptSource>, firstIndex: number) {
  let index = firstIndex;
  for await (const prompt of prompts) yield { prompt, index: index++ };
}

function checkOptions({ maxNewTokens, temperature, topP }: Required<Omit<GenerateOptions, 'signal'>>): void {
  const refuse = (what: string) => {
    throw new WeftError('invalid_argument', what);
  };
  if (!Number.isSafeInteger(maxNewTokens) || maxNewTokens < 1)
    refuse(`maxNewTokens must be 1 or more, not ${maxNewTokens}`);
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY))
    refuse(`temperature must be 0 or more, not ${temperature}`);
  if (!(topP > 0 && topP <= 1)) refuse(`topP must be above 0 and at most 1, not ${topP}`);
}
