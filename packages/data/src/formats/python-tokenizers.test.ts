import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openTokenizer } from './open-tokenizer.js';

// Made by scripts/write-tokenizer-fixtures.py with Python's `tokenizers`.
const at = (name: string) => fileURLToPath(new URL(`../../fixtures/tokenizers/${name}`, import.meta.url));
const read = <T>(name: string): T => JSON.parse(readFileSync(at(name), 'utf8')) as T;
const texts = read<string[]>('texts.json');

it.each(['gpt2', 'llama3', 'llama2', 'unigram', 'wordpiece'])(
  '200 odd texts have the ids of Python: %s',
  async (family) => {
    const tokenizer = await openTokenizer(at(`${family}.tokenizer.json`));
    const wanted = read<number[][]>(`${family}.ids.json`);
    expect(texts).toHaveLength(200);
    const wrong = texts.flatMap((text, index) => {
      const ids = [...tokenizer.encode(text)];
      return JSON.stringify(ids) === JSON.stringify(wanted[index]) ? [] : { text, ids, wanted: wanted[index] };
    });
    expect(wrong).toEqual([]);
  },
);
