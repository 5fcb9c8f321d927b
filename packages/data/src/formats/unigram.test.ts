import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openTokenizer } from './open-tokenizer.js';

const VOCABULARY: readonly (readonly [string, number])[] = [
  ['<unk>', 0],
  ['</s>', 0],
  ['▁', -2],
  ['a', -3],
  ['b', -3.1],
  ['ab', -4],
  ['▁a', -3.5],
  ['▁ab', -5.5],
  ['c', -6],
  ['abc', -7],
  ['é', -8],
  ['😀a', -6.5],
  ['▁▁', -3.9],
];
const BYTES = Array.from(
  { length: 256 },
  (_, byte) => [`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, -20] as const,
);

interface Variant {
  readonly byteFallback?: boolean;
  readonly split?: boolean;
  readonly prependScheme?: string;
}

const VARIANTS: Readonly<Record<string, Variant>> = {
  bytes: { byteFallback: true },
  plain: {},
  whole: { split: false },
  first: { byteFallback: true, prependScheme: 'first' },
};

async function unigram({ byteFallback = false, split = true, prependScheme = 'always' }: Variant) {
  await using folder = await temporaryDirectory();
  const path = join(folder.path, 'tokenizer.json');
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: prependScheme, split };
  const description = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: metaspace,
    post_processor: null,
    decoder: metaspace,
    model: {
      type: 'Unigram',
      unk_id: 0,
      byte_fallback: byteFallback,
      vocab: byteFallback ? [...VOCABULARY, ...BYTES] : VOCABULARY,
    },
  };
  await writeFile(path, JSON.stringify(description));
  return await openTokenizer(path);
}

const TEXTS = [
  'a',
  'ab abc',
  'abcabc  ab',
  'x',
  'xyz a',
  'é\n',
  '猫😀a',
  '<unk>a',
  'a<unk>x',
  ' a',
  ' ',
  '‍',
  'bbbbb',
  'xx yy',
  '▁a▁',
  'ab\tc',
];

/** Of Python's `tokenizers` 0.23, `encode(text, add_special_tokens=False).ids`. */
// biome-ignore format: a text a list
const IDS: Readonly<Record<string, readonly (readonly number[])[]>> = {
  bytes: [[6], [7, 2, 9], [2, 9, 9, 2, 7], [2, 133], [2, 133, 134, 135, 6], [2, 10, 23], [2, 244, 153, 184, 11], [2, 0, 3], [6, 73, 130, 123, 120, 75, 133], [6], [2], [2, 239, 141, 154], [2, 4, 4, 4, 4, 4], [2, 133, 133, 2, 134, 134], [6, 2], [7, 22, 8]],
  plain: [[6], [7, 2, 9], [2, 9, 9, 2, 7], [2, 0], [2, 0, 6], [2, 10, 0], [2, 0, 11], [2, 0, 3], [6, 0], [6], [2], [2, 0], [2, 4, 4, 4, 4, 4], [2, 0, 2, 0], [6, 2], [7, 0, 8]],
  whole: [[6], [7, 2, 9], [2, 9, 9, 2, 7], [2, 0], [2, 0, 6], [2, 10, 0], [2, 0, 11], [2, 0, 3], [6, 0], [6], [2], [2, 0], [2, 4, 4, 4, 4, 4], [2, 0, 2, 0], [6, 2], [7, 0, 8]],
  first: [[6], [7, 2, 9], [2, 9, 9, 2, 7], [2, 133], [2, 133, 134, 135, 6], [2, 10, 23], [2, 244, 153, 184, 11], [2, 0, 3], [6, 73, 130, 123, 120, 75, 133], [6], [2], [2, 239, 141, 154], [2, 4, 4, 4, 4, 4], [2, 133, 133, 2, 134, 134], [6, 2], [7, 22, 8]],
};

describe('Unigram', () => {
  it.each(Object.keys(VARIANTS))('gives the ids of Python: %s', async (name) => {
    const tokenizer = await unigram(VARIANTS[name]!);
    expect(TEXTS.map((text) => [...tokenizer.encode(text)])).toEqual(IDS[name]);
  });

  it('reads a text of a million characters, of words and of one word, known and unknown', async () => {
    const tokenizer = await unigram({});
    const words = tokenizer.encode('ab abc '.repeat(150_000).trim());
    expect([...words.subarray(0, 6)]).toEqual([7, 2, 9, 7, 2, 9]);
    expect(words).toHaveLength(450_000);
    expect(tokenizer.encode('b'.repeat(1_000_000))).toHaveLength(1_000_001);
    expect([...tokenizer.encode('猫'.repeat(1_000_000))]).toEqual([2, 0]);
    expect((await unigram({ byteFallback: true })).encode('猫'.repeat(100_000))).toHaveLength(300_001);
  });

  it('loses nothing: the tokens of any text spell it', async () => {
    const tokenizer = await unigram({ byteFallback: true });
    const spell = (id: number) => (id < VOCABULARY.length ? VOCABULARY[id]![0] : undefined);
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'é', '😀', '猫', ' ', '\n') }), (text) => {
        const bytes = [...tokenizer.encode(text)].flatMap((id) => {
          const token = spell(id);
          return token === undefined ? [id - VOCABULARY.length] : [...Buffer.from(token)];
        });
        const spelled = Buffer.from(bytes).toString().replaceAll('▁', ' ');
        expect([text, ` ${text}`]).toContain(spelled);
      }),
    );
  });
});
