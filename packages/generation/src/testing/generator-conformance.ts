import type { Executor, Program } from '@weft/tensor';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GenerateOptions, PromptSource } from '../continuations.js';
import { type Generator, openGenerator } from '../generator.js';
import { encodePrompt } from '../prompt.js';
import { greatest } from '../sampling.js';
import {
  asValues,
  KINDS,
  type Kind,
  logitsWithoutCache,
  PROMPTS,
  randomParameters,
  tinyConfig,
} from './tiny-models.js';

const NEW_TOKENS = 5;
const GREEDY: GenerateOptions = { maxNewTokens: NEW_TOKENS, endOfText: 'ignore' };

/** The whole continuation of every prompt. */
export async function continuations(
  generator: Generator,
  prompts: readonly PromptSource[],
  options: GenerateOptions,
): Promise<{ readonly text: string; readonly tokenIds: readonly number[]; readonly reason: string }[]> {
  const whole = prompts.map(() => ({ text: '', tokenIds: [] as number[], reason: '' }));
  for await (const { index, text, tokenIds, reason } of generator.generate(prompts, options)) {
    const each = whole[index]!;
    each.text += text;
    each.tokenIds.push(...tokenIds);
    each.reason = reason ?? '';
  }
  return whole;
}

/** What every backend must do: give the tokens that the model gives without a cache. */
export function describeGenerator(
  backend: string,
  prepare: () => Promise<(program: Program) => Executor>,
  kinds: readonly Kind[] = KINDS,
): void {
  describe.each(kinds)(`a decoder of kind %s on ${backend}`, (kind) => {
    const config = tinyConfig(kind);
    const { model } = config;
    const parameters = randomParameters(config);
    let generator: Generator;
    beforeAll(async () => {
      const openExecutor = await prepare();
      generator = await openGenerator({ config, parameters: asValues(parameters), openExecutor, slots: 3 });
    });
    afterAll(() => generator.close());

    test('gives the tokens of decoding without a cache, for mixed lengths and images in one batch', async () => {
      const { tokenizer } = generator;
      const given = await continuations(generator, PROMPTS, GREEDY);
      const limits = {
        tokenizer,
        tokensPerImage: model.connector.tokensPerImage,
        sequenceLength: model.sequenceLength,
      };
      for (const [i, prompt] of PROMPTS.entries()) {
        const encoded = encodePrompt(prompt, limits);
        const expected: number[] = [];
        while (expected.length < given[i]!.tokenIds.length) {
          const logits = await logitsWithoutCache(config, parameters, encoded, expected);
          expected.push(greatest(logits.subarray(0, tokenizer.vocabularySize)));
        }
        expect(given[i]!.tokenIds, `prompt ${i}`).toEqual(expected);
        const room = model.sequenceLength - encoded.positions.length + 1;
        expect(given[i]).toMatchObject(room < NEW_TOKENS ? { reason: 'sequenceLength' } : { reason: 'maxNewTokens' });
        expect(given[i]!.tokenIds).toHaveLength(Math.min(room, NEW_TOKENS));
      }
    });

    test('finds texts as likely as the model without a cache does, also behind a prompt that it has read', async () => {
      const { tokenizer } = generator;
      const limits = {
        tokenizer,
        tokensPerImage: model.connector.tokensPerImage,
        sequenceLength: model.sequenceLength,
      };
      const queries = PROMPTS.slice(1, 3).flatMap((prompt) =>
        ['yes', 'no!'].map((continuation) => ({ prompt, continuation })),
      );
      const given = await generator.logLikelihoods(queries);
      for (const [i, { prompt, continuation }] of queries.entries()) {
        const targets = [...tokenizer.encode(continuation)];
        const encoded = encodePrompt(prompt, limits);
        let sum = 0;
        for (const [t, target] of targets.entries()) {
          const logits = await logitsWithoutCache(config, parameters, encoded, targets.slice(0, t));
          const most = Math.max(...logits);
          sum += logits[target]! - most - Math.log(logits.reduce((total, logit) => total + Math.exp(logit - most), 0));
        }
        expect(given[i]!.sum).toBeCloseTo(sum, 3);
        expect(given[i]).toMatchObject({ tokens: targets.length, isGreedy: false });
      }
      const greedy = await continuations(generator, PROMPTS, { maxNewTokens: 1, endOfText: 'ignore' });
      // Few tokens of a random model are a text of their own.
      const index = greedy.findIndex(({ tokenIds: [id = 0] }) => id < 128);
      const query = { prompt: PROMPTS[index]!, continuation: greedy[index]!.text };
      expect(await generator.logLikelihoods([query])).toMatchObject([{ isGreedy: true }]);
    });

    if (kind !== kinds[0]) return;
    test('draws the same from a seed, whatever the slots and the other prompts', async () => {
      const drawn: GenerateOptions = { maxNewTokens: 8, temperature: 0.9, topP: 0.95, seed: 5, endOfText: 'ignore' };
      const together = await continuations(generator, PROMPTS, drawn);
      expect(await continuations(generator, PROMPTS, drawn)).toEqual(together);
      const alone = await continuations(generator, PROMPTS.slice(0, 1), drawn);
      expect(alone[0]).toEqual(together[0]);
      const other = await continuations(generator, PROMPTS, { ...drawn, seed: 6 });
      expect(other.map(({ tokenIds }) => tokenIds)).not.toEqual(together.map(({ tokenIds }) => tokenIds));
    });
  });
}
