import { javascriptExecutor } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { type GeneratorOptions, openGenerator } from './generator.js';
import { encodePrompt } from './prompt.js';
import { continuations, describeGenerator } from './testing/generator-conformance.js';
import { asValues, logitsWithoutCache, PROMPTS, randomParameters, tinyConfig } from './testing/tiny-models.js';

describeGenerator('JavaScript', async () => javascriptExecutor);

describe('a generator', () => {
  const config = tinyConfig('dense');
  const parameters = randomParameters(config);
  const open = (changes: Partial<GeneratorOptions> = {}) =>
    openGenerator({ config, parameters: asValues(parameters), openExecutor: javascriptExecutor, slots: 2, ...changes });
  const options = { maxNewTokens: 3, endOfText: 'ignore' } as const;
  const prompts = PROMPTS.slice(0, 2);

  test('takes other parameters, for images too', async () => {
    const other = new Map(parameters);
    for (const [name, values] of parameters)
      if (name.startsWith('connector/'))
        other.set(
          name,
          values.map((x) => -x),
        );
    const [generator, expected] = [await open(), await open({ parameters: asValues(other) })];
    const before = await continuations(generator, prompts, options);
    await generator.loadParameters(asValues(other));
    const after = await continuations(generator, prompts, options);
    expect(after).toEqual(await continuations(expected, prompts, options));
    expect(after[0]).toEqual(before[0]);
    expect(after[1]).not.toEqual(before[1]);
  });

  test('reads every view of a picture that the run cuts, more of them than are encoded at a time', async () => {
    const images = { ...config.data.images, subImages: { rows: 1, columns: 2 } };
    const cut = { ...config, data: { ...config.data, images } };
    const generator = await open({ config: cut });
    const some = [PROMPTS[1]!, PROMPTS[3]!, PROMPTS[5]!];
    const given = await continuations(generator, some, options);
    const limits = { tokenizer: generator.tokenizer, tokensPerImage: 3 * 4, sequenceLength: 41 };
    for (const [i, prompt] of some.entries()) {
      const encoded = encodePrompt(prompt, limits);
      const { tokenIds } = given[i]!;
      expect(tokenIds.length).toBeGreaterThan(0);
      for (const [t, id] of tokenIds.entries()) {
        const logits = await logitsWithoutCache(cut, parameters, encoded, tokenIds.slice(0, t));
        const known = logits.subarray(0, generator.tokenizer.vocabularySize);
        expect(known.indexOf(Math.max(...known)), `prompt ${i}`).toBe(id);
      }
    }
  });

  test('refuses a call during another one, and goes on when that was left', async () => {
    const generator = await open();
    for await (const _ of generator.generate(prompts, options)) {
      await expect(generator.logLikelihoods([])).rejects.toMatchObject({ code: 'failed_precondition' });
      break;
    }
    expect(await generator.logLikelihoods([])).toEqual([]);
    const fresh = await open();
    expect(await continuations(generator, prompts, options)).toEqual(await continuations(fresh, prompts, options));
  });

  test('reads once what queries share, and encodes an image once', async () => {
    const phases: string[] = [];
    const generator = await open({
      openExecutor: (program) => {
        const executor = javascriptExecutor(program);
        const { run } = executor;
        executor.run = (phase, inputs) => {
          phases.push(phase);
          return run.call(executor, phase, inputs);
        };
        return executor;
      },
    });
    // 34 positions of text and 4 of an image: a chunk of 41 reads all of it but the last position.
    const queries = ['a', 'b', 'cd'].map((continuation) => ({ prompt: PROMPTS[4]!, continuation }));
    const together = await generator.logLikelihoods(queries);
    const perQuery = ['score/32', 'truncate', 'score/32', 'truncate', 'score/32'];
    expect(phases).toEqual(['encodeImages/1', 'prefill/41', ...perQuery]);
    phases.length = 0;
    const apart = [];
    for (const query of queries) apart.push(...(await generator.logLikelihoods([query])));
    expect(phases.filter((phase) => phase.startsWith('encodeImages'))).toEqual([]);
    expect(phases.filter((phase) => phase.startsWith('prefill'))).toHaveLength(3);
    for (const [i, { sum }] of together.entries()) expect(apart[i]!.sum).toBeCloseTo(sum, 4);
  });

  test('refuses missing parameters, and a cache beyond the memory before an executor is opened', async () => {
    const lacking = new Map(parameters);
    lacking.delete('decoder/norm');
    await expect(open({ parameters: asValues(lacking) })).rejects.toThrow('the parameters lack decoder/norm');
    const openExecutor = () => expect.unreachable('it was opened');
    await expect(open({ slots: 1e9, openExecutor })).rejects.toThrow(
      /^the keys and values of 1000000000 texts .* take /,
    );
  });
});
