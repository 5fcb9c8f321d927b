import { WeftError } from '@weft/common';
import { byteTokenizer } from '@weft/data';
import { describe, expect, test } from 'vitest';
import { Continuations, type GenerateOptions, type PromptSource, type TokenSource } from './continuations.js';
import type { Prompt } from './prompt.js';

const LIMITS = { tokenizer: byteTokenizer, tokensPerImage: 2, sequenceLength: 20 };
const { endOfTextId, vocabularySize } = byteTokenizer;

/** A model that repeats its prompt once and ends. Counts how often it is run. */
class EchoModel implements TokenSource {
  readonly #texts: { readonly prompt: readonly number[]; said: number }[] = [];
  steps = 0;

  async ready({ positions }: { readonly positions: Int32Array }) {
    return { positions, imageRow: () => new Float32Array() };
  }

  async prefill(slot: number, { positions }: { readonly positions: Int32Array }) {
    this.#texts[slot] = { prompt: [...positions], said: 0 };
    return this.#logits(slot);
  }

  async decode(next: Parameters<TokenSource['decode']>[0]) {
    this.#advance(next);
    return next.map((_, slot) => this.#logits(slot));
  }

  async decodeGreedily(next: Parameters<TokenSource['decode']>[0]) {
    this.#advance(next);
    return Int32Array.from(next, (_, slot) => this.#nextId(slot));
  }

  /** The last token must be the one that was chosen, at the end of the text. */
  #advance(next: Parameters<TokenSource['decode']>[0]) {
    this.steps++;
    for (const [slot, each] of next.entries()) {
      const text = this.#texts[slot];
      if (each === undefined || text === undefined) continue;
      expect(each.tokenId).toBe(this.#nextId(slot));
      expect(each.length).toBe(text.prompt.length + text.said);
      text.said++;
    }
  }

  #nextId(slot: number): number {
    const text = this.#texts[slot];
    return text?.prompt[text.said] ?? endOfTextId;
  }

  #logits(slot: number): Float32Array {
    return new Float32Array(vocabularySize).fill(0).fill(50, this.#nextId(slot), this.#nextId(slot) + 1);
  }
}

const say = (text: string): Prompt => [{ kind: 'text', text }];

async function collect(prompts: readonly PromptSource[], options: Partial<GenerateOptions> = {}, slots = 2) {
  const model = new EchoModel();
  const whole = prompts.map(() => ({ text: '', tokens: 0, reason: '', error: '' }));
  const order: number[] = [];
  const run = new Continuations(model, LIMITS, slots, { maxNewTokens: 9, ...options }).run(prompts);
  for await (const { index, text, tokenIds, done, reason, error } of run) {
    const each = whole[index]!;
    expect(each.reason).toBe('');
    each.text += text;
    each.tokens += tokenIds.length;
    each.reason = reason ?? '';
    each.error = error?.message ?? '';
    expect(done).toBe(reason !== null);
    if (done) order.push(index);
  }
  return { whole, order, steps: model.steps };
}

describe('continuations', () => {
  test('of more prompts than slots come all, each as soon as it ends', async () => {
    const { whole, order, steps } = await collect(['abcdef', 'g', 'hi', 'jkl'].map(say));
    expect(whole.map(({ text, tokens, reason }) => [text, tokens, reason])).toEqual([
      ['abcdef', 6, 'endOfText'],
      ['g', 1, 'endOfText'],
      ['hi', 2, 'endOfText'],
      ['jkl', 3, 'endOfText'],
    ]);
    expect(order).toEqual([1, 2, 0, 3]);
    // The second slot decodes three texts while the first decodes one.
    expect(steps).toBe(6);
  });

  test('end at the most new tokens, at a stop text, and where the model reads no further', async () => {
    const { whole } = await collect(['abcdefghij', 'one. two', '0123456789abcdef'].map(say), { stop: ['. '] });
    expect(whole.map(({ text, tokens, reason }) => [text, tokens, reason])).toEqual([
      ['abcdefghi', 9, 'maxNewTokens'],
      ['one', 5, 'stop'],
      // 16 of 20 positions are the prompt; what follows the last position is known, too.
      ['01234', 5, 'sequenceLength'],
    ]);
    const { whole: first } = await collect(['abc'].map(say), { maxNewTokens: 1 });
    expect(first).toMatchObject([{ text: 'a', reason: 'maxNewTokens' }]);
  });

  test('go on behind the end of a text where that is to be ignored', async () => {
    const { whole } = await collect([say('ab')], { endOfText: 'ignore' });
    expect(whole).toMatchObject([{ text: 'ab', tokens: 9, reason: 'maxNewTokens' }]);
  });

  test('of a prompt that cannot be read fail, and the others go on', async () => {
    const missing = async () => {
      throw new WeftError('not_found', 'the image a.png does not exist');
    };
    const { whole } = await collect([say('ab'), missing, say('x'.repeat(21)), async () => say('cd'), say('')]);
    expect(whole.map(({ reason }) => reason)).toEqual(['endOfText', 'failed', 'failed', 'endOfText', 'failed']);
    expect(whole.map(({ error }) => error)).toEqual([
      '',
      'the image a.png does not exist',
      expect.stringContaining('model.sequenceLength is 20'),
      '',
      'the prompt is empty',
    ]);
  });

  test('leave room for themselves when the beginning of a prompt is cut', async () => {
    const { whole } = await collect([say('0123456789abcdefghijklmn')], { longPrompt: 'cutBeginning' });
    // 20 positions less 9 for the continuation: the last 11.
    expect(whole).toMatchObject([{ text: 'defghijkl', reason: 'maxNewTokens' }]);
  });

  test('are the same from a temperature when one token is certain', async () => {
    const { whole } = await collect(['abc', 'de'].map(say), { temperature: 1, topP: 0.9 });
    expect(whole.map(({ text }) => text)).toEqual(['abc', 'de']);
  });

  test('stop when they are cancelled, and refuse options out of range', async () => {
    await expect(collect([say('a')], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' });
    for (const wrong of [
      { maxNewTokens: 0 },
      { temperature: -1 },
      { temperature: Number.NaN },
      { topP: 0 },
      { topP: 1.1 },
    ])
      await expect(collect([say('a')], wrong)).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});
