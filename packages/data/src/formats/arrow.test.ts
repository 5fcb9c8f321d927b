import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { Field, Int64, List, Struct, Table, tableFromArrays, tableToIPC, Utf8, vectorFromArray } from 'apache-arrow';
import { describe, expect, it } from 'vitest';
import { indexField } from '../testing/field-data.js';
import { arrowRecords } from './arrow.js';

const TEXTS = Array.from({ length: 50 }, (_, i) => `row ${i}, é 織`);
const table = () => tableFromArrays({ text: TEXTS, number: Int32Array.from(TEXTS.keys()) });

async function valuesOf(content: Uint8Array, columns?: readonly string[]): Promise<unknown[]> {
  await using folder = await temporaryDirectory();
  const path = join(folder.path, 'a.arrow');
  await writeFile(path, content);
  const values: unknown[] = [];
  for await (const { value } of arrowRecords(path, columns)) values.push(value);
  return values;
}

describe('Arrow', () => {
  it.each(['stream', 'file'] as const)('is read as a %s', async (format) => {
    const wanted = TEXTS.map((text, number) => ({ text, number }));
    expect(await valuesOf(tableToIPC(table(), format))).toEqual(wanted);
    expect(await valuesOf(tableToIPC(table(), format), ['text', 'missing'])).toEqual(TEXTS.map((text) => ({ text })));
  });

  it('gives lists and structures as JSON has them', async () => {
    const text = new Utf8();
    const message = new Struct([Field.new('role', text, true), Field.new('content', text, true)]);
    const messages = [
      [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'Hi' },
      ],
      [],
    ];
    const written = new Table({
      messages: vectorFromArray(messages, new List(Field.new('item', message, true))),
      score: vectorFromArray([1n, 2n], new Int64()),
    });
    expect(await valuesOf(tableToIPC(written, 'stream'))).toEqual([
      { messages: messages[0], score: 1 },
      { messages: messages[1], score: 2 },
    ]);
  });

  it.each<[string, (whole: Uint8Array) => Uint8Array, RegExp]>([
    ['nothing', () => new Uint8Array(), /is no Arrow stream/],
    ['something else', () => Buffer.from('{"text":"a"}\n'.repeat(50)), /is no Arrow stream/],
    ['half a stream', (whole) => whole.subarray(0, whole.length / 2), /is no Arrow stream/],
    ['a stream without its end', (whole) => whole.subarray(0, whole.length - 8), /it is cut off/],
  ])('is refused in a sentence: %s', async (_, change, message) => {
    const whole = tableToIPC(table(), 'stream');
    await expect(valuesOf(change(whole))).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringMatching(message),
    });
  });

  it('of Hugging Face is read as a folder of text, what describes it is left out', async () => {
    await using folder = await temporaryDirectory();
    const saved = join(folder.path, 'text', 'train');
    await mkdir(saved, { recursive: true });
    await writeFile(join(saved, 'data-00000-of-00001.arrow'), tableToIPC(table(), 'stream'));
    await writeFile(join(saved, 'dataset_info.json'), '{"citation": ""}');
    await writeFile(join(saved, 'state.json'), '{"_data_files": []}');
    const { documents, leftOut } = await indexField(folder.path, 'text', {
      'dataset_dict.json': '{"splits": ["train"]}',
    });
    expect(documents).toEqual(TEXTS);
    expect(leftOut).toEqual({
      'text/dataset_dict.json': 'it describes the data beside it',
      'text/train/dataset_info.json': 'it describes the data beside it',
      'text/train/state.json': 'it describes the data beside it',
    });
  });

  it('names the columns there are where the field is none of them', async () => {
    await using folder = await temporaryDirectory();
    await expect(
      indexField(folder.path, 'text', { 'a.arrow': tableToIPC(tableFromArrays({ content: ['a'] }), 'stream') }),
    ).rejects.toMatchObject({ message: expect.stringMatching(/a\.arrow has no column "text"; it has content$/) });
  });
});
