import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openTokenizer } from './open-tokenizer.js';

/** A byte-level BPE tokenizer.json with two merges over the letters of "loom". */
const bpe = {
  version: '1.0',
  added_tokens: [
    {
      id: 6,
      content: '<|endoftext|>',
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    },
  ],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: 'BPE',
    unk_token: null,
    vocab: { l: 0, o: 1, m: 2, Ġ: 3, oo: 4, loo: 5 },
    merges: ['o o', 'l oo'],
  },
};

async function tokenizerFrom(description: unknown, config?: unknown) {
  await using folder = await temporaryDirectory();
  const path = join(folder.path, 'my-loom.json');
  await writeFile(path, typeof description === 'string' ? description : JSON.stringify(description));
  if (config !== undefined) await writeFile(join(folder.path, 'tokenizer_config.json'), JSON.stringify(config));
  return await openTokenizer(path);
}

describe('the byte tokenizer', () => {
  it('gives any text back', async () => {
    const tokenizer = await openTokenizer('bytes');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const ids = tokenizer.encode(text);
        expect(tokenizer.decode(ids)).toBe(text);
        expect(ids.every((id) => id >= 0 && id < 256)).toBe(true);
      }),
    );
    expect(tokenizer.decode([104, 105, tokenizer.endOfTextId, tokenizer.padTokenId])).toBe('hi');
    expect(tokenizer).toMatchObject({ name: 'bytes', vocabularySize: 260, endOfTextId: 256, padTokenId: 257 });
  });
});

describe('a tokenizer.json', () => {
  it('encodes and decodes as its merges say', async () => {
    const tokenizer = await tokenizerFrom(bpe);
    expect([...tokenizer.encode('loom mool')]).toEqual([5, 2, 3, 2, 4, 0]);
    expect(tokenizer.decode(tokenizer.encode('loom mool'))).toBe('loom mool');
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer).toMatchObject({ vocabularySize: 7, endOfTextId: 6, padTokenId: 6 });
    expect(tokenizer.name).toMatch(/^my_loom_[0-9a-f]{8}$/);
  });

  it.each([
    'a<|endoftext|>b',
    '<|endoftext|>',
    '<|endoftext|><|endoftext|>',
    ' <|pad|> loom <|endoftext|>',
    'é<|endoftext|>\n',
  ])('encodes a special token that the text %j spells as text', async (text) => {
    // Python's byte-to-character table: what is printable stands for itself, the other bytes follow from U+0100.
    const isItself = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    let others = 256;
    const letters = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isItself(byte) ? byte : others++));
    const vocab: Record<string, number> = Object.fromEntries(letters.map((letter, id) => [letter, id]));
    const special = (id: number, content: string) => ({ ...bpe.added_tokens[0], id, content, rstrip: true });
    const tokenizer = await tokenizerFrom({
      ...bpe,
      added_tokens: [
        special(256, '<|endoftext|>'),
        special(257, '<|pad|>'),
        { ...special(258, 'loom'), special: false },
      ],
      model: { ...bpe.model, vocab, merges: [] },
    });
    const expected = text
      .split(/(loom ?)/)
      .flatMap((part) => (part.startsWith('loom') ? [258] : [...Buffer.from(part)]));
    expect([...tokenizer.encode(text)]).toEqual(expected);
    expect(tokenizer.endOfTextId).toBe(256);
  });

  it('takes the end of text from the configuration beside it, and another configuration is another name', async () => {
    const named = await tokenizerFrom(bpe, { eos_token: 'loo' });
    expect(named.endOfTextId).toBe(5);
    expect((await tokenizerFrom(bpe, { eos_token: { content: 'oo' } })).endOfTextId).toBe(4);
    expect(named.name).not.toBe((await tokenizerFrom(bpe)).name);
  });

  it('is refused with the file named when it is missing, damaged, lacks an end of text, or lacks a token', async () => {
    await expect(openTokenizer('/nowhere/tokenizer.json')).rejects.toMatchObject({ code: 'not_found' });
    await expect(openTokenizer('/')).rejects.toThrow('the tokenizer / is a folder');
    await expect(tokenizerFrom('{')).rejects.toThrow(/my-loom\.json is not JSON/);
    await expect(tokenizerFrom({})).rejects.toThrow(/my-loom\.json is not a tokenizer/);
    await expect(tokenizerFrom({ ...bpe, added_tokens: [] })).rejects.toThrow('has no token that ends a text');
    const wordSegment = {
      type: 'WordSegment',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      vocab: { loom: 0 },
    };
    const tokenizer = await tokenizerFrom({ ...bpe, model: { ...wordSegment, max_input_chars_per_word: 9 } });
    expect(() => tokenizer.encode('xyz')).toThrow('has no token for a part of the text');
  });
});
