import { spawnSync } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DatasetSettings, SourceKind } from '@weft/config';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTokenizer } from '../formats/open-tokenizer.js';
import { textDocuments } from '../formats/text-shard.js';
import { indexField } from '../testing/field-data.js';

const SCRIPT = fileURLToPath(new URL('../../../../scripts/write-data-sets.py', import.meta.url));
const PYTHON = process.env.WEFT_DATA_PYTHON ?? process.env.PYTHON ?? 'python3';
const LIBRARIES = 'pyarrow, webdataset, zstandard, PIL, numpy, tokenizers';
const hasLibraries = spawnSync(PYTHON, ['-c', `import ${LIBRARIES}`]).status === 0;

describe.skipIf(!hasLibraries)('data sets that Python wrote', () => {
  let folder: TemporaryDirectory;
  let expected: Readonly<Record<string, readonly string[]>> & { readonly ids: readonly (readonly number[])[] };

  beforeAll(async () => {
    folder = await temporaryDirectory();
    const { status, stderr } = spawnSync(PYTHON, [SCRIPT, folder.path], { encoding: 'utf8' });
    expect(stderr.replace(/.*Warning.*/g, '').trim(), stderr).toBe('');
    expect(status).toBe(0);
    expected = JSON.parse(await readFile(join(folder.path, 'expected.json'), 'utf8'));
  });
  afterAll(() => folder.remove());

  const read = (name: string, kind: SourceKind, settings: Partial<DatasetSettings> = {}) =>
    indexField(join(folder.path, name), kind, {}, settings);

  it.each<[string, Partial<DatasetSettings>]>([
    ['fineweb', {}],
    ['packings', {}],
    ['packings-column', { textField: 'content' }],
    ['c4', {}],
    ['pile', {}],
  ])('hold the texts that were written: %s', async (name, settings) => {
    expect((await read(name, 'text', settings)).documents).toEqual(expected[name]);
  });

  it('name the columns there are where the field is none of them', async () => {
    await expect(read('packings-column', 'text')).rejects.toMatchObject({
      message: expect.stringMatching(/large\.parquet has no column "text"; it has content$/),
      hint: expect.stringContaining('textField'),
    });
  });

  it('give the row groups that are intact where one is damaged', async () => {
    await using copy = await temporaryDirectory();
    const script = `
import pyarrow as pa, pyarrow.parquet as pq, sys
path = sys.argv[1]
pq.write_table(pa.table({"text": [f"row {i} of a table" * 3 for i in range(30)]}), path, row_group_size=10, compression="zstd")
column = pq.ParquetFile(path).metadata.row_group(1).column(0)
start = column.dictionary_page_offset or column.data_page_offset
with open(path, "r+b") as file:
    file.seek(start + column.total_compressed_size // 4)
    file.write(b"\\xff" * (column.total_compressed_size // 2))`;
    await mkdir(join(copy.path, 'text'), { recursive: true });
    const { status, stderr } = spawnSync(PYTHON, ['-c', script, join(copy.path, 'text', 'a.parquet')], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    const { documents, leftOut } = await indexField(copy.path, 'text', {}, { badSamples: 'skip' });
    const wanted = [...Array(10).keys(), ...Array.from({ length: 10 }, (_, i) => 20 + i)];
    expect(documents).toEqual(wanted.map((i) => `row ${i} of a table`.repeat(3)));
    expect(Object.keys(leftOut)).toEqual(['text/a.parquet row group 2']);
    await expect(indexField(copy.path, 'text', {}, { badSamples: 'refuse' })).rejects.toMatchObject({
      code: 'corrupt_data',
      hint: expect.stringContaining('badSamples=skip'),
    });
  });

  it('hold the pairs of img2dataset; tables and statistics beside the shards are left out', async () => {
    const { documents, leftOut } = await read('img2dataset', 'captioned');
    expect(documents.map((document) => document.replace(/⟨.*⟩/, ''))).toEqual(expected.img2dataset);
    expect(documents[0]).toMatch(/^⟨00000\.tar 000000000\.jpg⟩/);
    expect(Object.keys(leftOut)).toEqual(
      expect.arrayContaining(['captioned/00000.parquet', 'captioned/00000_stats.json']),
    );
  });

  it('hold the documents of OBELICS, with the images that were fetched', async () => {
    const { documents } = await read('obelics', 'interleaved');
    const images = documents.map((document) => document.match(/⟨[^⟩]*⟩/g)?.length);
    expect(images).toEqual([2, 1, 2, 1, 2, 1]);
    const names: Record<string, string> = {};
    for (let i = 0; i < 6; i++)
      for (const [j, letter] of [...'ab'].entries())
        names[`<https://x.org/${i}${letter}.jpg>`] = `⟨fetched/images.tar ${i}-${j}.jpg⟩`;
    expect(documents).toEqual(expected.obelics!.map((text) => text.replace(/<[^>]*>/g, (url) => names[url] ?? url)));
  });

  it('have the token ids of Python', async () => {
    const tokenizer = await openTokenizer(join(folder.path, 'tokenizer.json'));
    const ids: number[][] = [];
    for await (const document of textDocuments(
      join(folder.path, 'fineweb/text/data/CC-MAIN-2024-10/000_00000.parquet'),
    )) {
      if ('problem' in document) throw document.problem;
      const own: number[] = [];
      for await (const part of document.parts) if (part.kind === 'text') own.push(...tokenizer.encode(part.text));
      ids.push(own);
    }
    expect(ids).toEqual(expected.ids);
  });
});
