import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { textParts } from './document.js';
import { textDocuments } from './text-shard.js';

async function documentsOf(name: string, content: string | Uint8Array): Promise<{ name: string; texts: string[] }[]> {
  await using folder = await temporaryDirectory();
  const path = join(folder.path, name);
  await writeFile(path, content);
  const documents: { name: string; texts: string[] }[] = [];
  for await (const document of textDocuments(path)) {
    if ('problem' in document) throw document.problem;
    const { key, parts } = document;
    const texts: string[] = [];
    for await (const part of parts) if (part.kind === 'text') texts.push(part.text);
    documents.push({ name: key, texts });
  }
  return documents;
}

describe('text shards', () => {
  it('hold one document per line of a .jsonl file; empty lines, CRLF and a missing last line end are fine', async () => {
    const documents = await documentsOf('a.jsonl', '{"text":"one\\ntwo"}\r\n\n{"text":"é","id":7}');
    expect(documents).toEqual([
      { name: 'line 1', texts: ['one\ntwo'] },
      { name: 'line 3', texts: ['é'] },
    ]);
  });

  it('hold one document per .txt file, in parts that are whole characters', async () => {
    const long = `${'a'.repeat(900_000)}\n${'😀é'.repeat(300_000)}\nend`;
    const [document, ...others] = await documentsOf('b.txt', long);
    expect(others).toEqual([]);
    expect(document!.texts.join('')).toBe(long);
    expect(document!.texts.length).toBeGreaterThan(1);
    for (const text of document!.texts) expect(/\p{Surrogate}/u.test(text)).toBe(false);
  });

  it('name file and line that cannot be read', async () => {
    await expect(documentsOf('a.jsonl', '{"text":"a"}\n{"txt":"b"}\n')).rejects.toThrow(
      /line 2 of .*a\.jsonl has no field "text"/,
    );
    await expect(documentsOf('a.jsonl', 'hello\n')).rejects.toThrow(/line 1 of .*a\.jsonl is not JSON/);
    await expect(documentsOf('a.jsonl', Buffer.from([0x22, 0xff, 0x22]))).rejects.toMatchObject({
      code: 'corrupt_data',
    });
    await expect(documentsOf('b.txt', Uint8Array.of(0x61, 0xff))).rejects.toThrow(/b\.txt is not UTF-8/);
    await expect(documentsOf('b.txt', Buffer.from('é').subarray(0, 1))).rejects.toThrow(/b\.txt is not UTF-8/);
  });

  it('are cut into parts that join to the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 50 }), fc.nat(3), (text, doublings) => {
        let long = text;
        for (let i = 0; i < 15 + doublings; i++) long = long.length > 3_000_000 ? long : long + long;
        const parts = [...textParts(long)].map((part) => (part.kind === 'text' ? part.text : ''));
        expect(parts.join('') === long).toBe(true);
      }),
      { numRuns: 15 },
    );
  });
});
