import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { GenerateOptions, Generator, Prompt, PromptSource } from '@weft/generation';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { createContext } from '../context.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { generateBatch, prepareBatch } from './generate-batch.js';

/** Says how a prompt looks, in two parts, and ends the second of every two prompts first. */
class FakeGenerator implements Pick<Generator, 'generate'> {
  readonly firstIndexes: number[] = [];

  async *generate(prompts: Iterable<PromptSource> | AsyncIterable<PromptSource>, { firstIndex = 0 }: GenerateOptions) {
    this.firstIndexes.push(firstIndex);
    let index = firstIndex;
    let waiting: { index: number; source: PromptSource }[] = [];
    for await (const source of prompts) {
      waiting.push({ index: index++, source });
      if (waiting.length < 2) continue;
      for (const each of waiting.reverse()) yield* this.#answer(each);
      waiting = [];
    }
    for (const each of waiting) yield* this.#answer(each);
  }

  async *#answer({ index, source }: { index: number; source: PromptSource }) {
    try {
      const prompt = typeof source === 'function' ? await source() : source;
      yield { index, text: 'seen ', tokenIds: [1], done: false, reason: null };
      yield { index, text: describePrompt(prompt), tokenIds: [2], done: true, reason: 'endOfText' as const };
    } catch (thrown) {
      const error = WeftError.from(thrown);
      yield { index, text: '', tokenIds: [], done: true, reason: 'failed' as const, error };
    }
  }
}

const describePrompt = (prompt: Prompt) =>
  prompt
    .map((segment) =>
      segment.kind === 'image' ? `[${segment.bytes.length} bytes]` : segment.kind === 'text' ? segment.text : '',
    )
    .join('');

async function run(input: string, output: string, resume = false, json = false) {
  const terminal = recordedTerminal();
  const generator = new FakeGenerator();
  const batch = { ...(await prepareBatch({ input, output, resume })), asked: (prompt: Prompt) => prompt };
  const context = createContext(json ? { json } : {}, terminal);
  const exitCode = await generateBatch(context, generator as unknown as Generator, batch, { maxNewTokens: 9 });
  const answers = (await readFile(output, 'utf8'))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
  return { exitCode, answers, generator, ...terminal.written };
}

const LINES = [
  '{"id": {"any": "json"}, "prompt": "one"}',
  '{"prompt": "<image>two<image>", "images": ["a.bin", "a.bin"]}',
  'three',
  '{"prompt": ["four ", {"image": "a.bin"}, " more"], "id": null}',
  '{"prompt": "five", "images": ["a.bin"]}',
  '{"prompt": "six <image> <image>", "images": ["a.bin"]}',
  '{"prompt": "seven", "images": ["b.bin"]}',
  '{"prompt": 8}',
  '{"prompt": "nine", "image": "a.bin"}',
  '{"prompt": ["ten", {"imag": "a.bin"}]}',
];

async function files() {
  const folder = await temporaryDirectory();
  const at = (name: string) => join(folder.path, name);
  await writeFile(at('a.bin'), 'abc');
  await writeFile(at('in.jsonl'), `${LINES.join('\n')}\n`);
  return { at, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe('a batch of prompts', () => {
  it('gets an answer for every line, in order, and names the bad ones', async () => {
    await using folder = await files();
    const { exitCode, answers, err, out } = await run(folder.at('in.jsonl'), folder.at('out.jsonl'), false, true);
    expect(exitCode).toBe(1);
    const text = (of: string) => ({ text: `seen ${of}`, tokens: 2, reason: 'endOfText' });
    const error = (message: unknown, code = 'invalid_argument') => ({ error: { code, message } });
    expect(answers).toEqual(
      [
        { id: { any: 'json' }, ...text('one') },
        text('[3 bytes]two[3 bytes]'),
        error('it is not JSON'),
        { id: null, ...text('four [3 bytes] more') },
        text('[3 bytes]five'),
        error('the prompt has 2 <image> marks, but 1 image came with it'),
        error(`the image ${folder.at('b.bin')} does not exist`, 'not_found'),
        error('"prompt" is neither a text nor a list of texts and images'),
        error('it has a field "image"; known are id, prompt and images'),
        error('{"imag":"a.bin"} in "prompt" is neither a text nor {"image": "<path>"}'),
      ].map((answer, i) => ({ line: i + 1, ...answer })),
    );
    expect(err.split('\n').filter((line) => line.startsWith(folder.at('in.jsonl')))).toHaveLength(6);
    expect(err).toContain(`${folder.at('in.jsonl')}:3: it is not JSON\n`);
    expect(JSON.parse(out)).toMatchObject({ lines: 10, written: 10, failed: 6, tokens: 8 });
  });

  it.each([0, 1, 30, 60, 200, 400])('goes on behind byte %i as if it had not been interrupted', async (bytes) => {
    await using folder = await files();
    const whole = await run(folder.at('in.jsonl'), folder.at('out.jsonl'));
    const content = await readFile(folder.at('out.jsonl'));
    await writeFile(folder.at('cut.jsonl'), content.subarray(0, bytes));
    const { answers, exitCode, generator } = await run(folder.at('in.jsonl'), folder.at('cut.jsonl'), true);
    expect(answers).toEqual(whole.answers);
    expect(exitCode).toBe(1);
    expect(generator.firstIndexes).toEqual([content.subarray(0, bytes).filter((byte) => byte === 10).length]);
  });

  it('refuses a missing input, an output that is there, one of another input, and a missing folder', async () => {
    await using folder = await files();
    const [input, output] = [folder.at('in.jsonl'), folder.at('out.jsonl')];
    const prepare = (changes: object) => prepareBatch({ input, output, resume: false, ...changes });
    await expect(prepare({ input: folder.at('none') })).rejects.toThrow(/^--input: .*none does not exist$/);
    await expect(prepare({ output: folder.at('none/out') })).rejects.toThrow(/^--output: the folder .*none does not/);
    await writeFile(output, '{"line":1,"text":""}\n{"line":3,"text":""}\n');
    await expect(prepare({})).rejects.toThrow(/out\.jsonl is there already$/);
    await expect(prepare({ resume: true })).rejects.toThrow(/line 2 of .* answers no line of /);
    expect(await readFile(output, 'utf8')).toContain('"line":3');
  });
});
