import { appendFile, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_SOURCES, ofSource, type SourceId } from '@weft/common';
import { temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteTokenizer } from '../formats/tokenizer.js';
import { type Colour, type TinyContent, tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';
import { inspectDataset } from './inspect-dataset.js';
import { IMAGE_ENTRY, type Segment } from './packed-sequence.js';

type Part = string | Colour;

/** Every document of a source as texts and colours, put together again from all segments of all sequences. */
async function readBack(dataset: Dataset, source: SourceId): Promise<Part[][]> {
  const segments: Segment[] = [];
  const count = ofSource(dataset.sequences, source);
  for (let i = 0; i < count; i++) segments.push(...(await dataset.readSequence(source, i)).segments);
  segments.sort((a, b) => a.document - b.document || a.part - b.part);
  const documents: (number | Colour)[][] = [];
  for (const segment of segments) {
    documents[segment.document] ??= [];
    const document = documents[segment.document]!;
    let image = 0;
    for (const entry of segment.entries) {
      if (entry !== IMAGE_ENTRY) document.push(entry);
      else {
        const pixels = await dataset.readImage(source, segment.images[image++]!);
        document.push([pixels[0]!, pixels[1]!, pixels[2]!]);
      }
    }
  }
  return documents.map((document) => {
    expect(document.pop()).toBe(byteTokenizer.endOfTextId);
    const parts: Part[] = [];
    let run: number[] = [];
    for (const entry of [...document, undefined]) {
      if (typeof entry === 'number') run.push(entry);
      else {
        if (run.length > 0) parts.push(byteTokenizer.decode(run));
        run = [];
        if (entry !== undefined) parts.push(entry);
      }
    }
    return parts;
  });
}

describe('a dataset made of real shards', () => {
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>;
  let content: TinyContent;
  let config: ReturnType<typeof tinyConfig>;
  let indexFolder: string;

  beforeAll(async () => {
    folder = await temporaryDirectory();
    content = await writeTinyDataset(folder.path);
    config = tinyConfig(folder.path);
    indexFolder = (await indexDataset(config)).directory;
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it('gives back every document of every source: texts, images, order', async () => {
    const dataset = await Dataset.open(config);
    expect(await readBack(dataset, 'captioned')).toEqual(
      content.captioned.map(({ caption, colour }) => [colour, caption]),
    );
    expect(await readBack(dataset, 'interleaved')).toEqual(content.interleaved);
    expect(await readBack(dataset, 'text')).toEqual(content.text.map((text) => [text]));
    await dataset.close();
  });

  it('counts what it holds, and describes a sequence for people', async () => {
    const summary = await inspectDataset({ ...config, verify: true, show: { source: 'captioned', sequence: 0 } });
    const { captioned, interleaved, text } = summary.sources;
    expect([captioned, interleaved, text].map((source) => source?.documents)).toEqual([14, 6, 4]);
    expect(captioned?.images).toBe(14);
    expect(interleaved?.images).toBe(content.interleaved.flat().filter((part) => typeof part !== 'string').length);
    const bytes = content.text.reduce((sum, each) => sum + Buffer.byteLength(each), 0);
    expect(text?.textTokens).toBe(bytes + content.text.length);
    for (const source of DEFAULT_SOURCES) expect(summary.sources[source]?.fillRatio).toBeGreaterThan(0.5);
    expect(summary.isVerified).toBe(true);
    expect(summary.sequence).toMatch(
      /^captioned sequence 0: \d+ of 48 positions, \d segments?, \d images?\n\nsegment 1: document/,
    );
    expect(summary.sequence).toMatch(/⟨image 1: c-0\.tar \d\.png⟩.+⟨end⟩/);
  });

  it('is indexed into the same bytes every time, and not again while it is current', async () => {
    const bytesOf = async () =>
      Promise.all(
        (await readdir(indexFolder)).sort().map(async (name) => [name, await readFile(join(indexFolder, name), 'hex')]),
      );
    const before = await bytesOf();
    expect((await indexDataset(config)).built).toBe(false);
    expect((await indexDataset({ ...config, force: true })).built).toBe(true);
    expect(await bytesOf()).toEqual(before);
    expect(await readdir(join(folder.path, 'index'))).toEqual(['bytes-T48-K4-I3']);
  });

  it('decodes an image once and keeps it', async () => {
    const dataset = await Dataset.open(config);
    const { segments } = await dataset.readSequence('captioned', 0);
    const [image] = segments.flatMap(({ images }) => images);
    expect(await dataset.readImage('captioned', image!)).toBe(await dataset.readImage('captioned', image!));
    await dataset.close();
  });

  it('refuses sequences it does not hold', async () => {
    const dataset = await Dataset.open(config);
    await expect(dataset.readSequence('text', ofSource(dataset.sequences, 'text'))).rejects.toThrow(
      'there is no text sequence',
    );
    await expect(dataset.readSequence('text', -1)).rejects.toMatchObject({ code: 'invalid_argument' });
    await dataset.close();
  });

  it('says which other indexes there are when the parameters do not match', async () => {
    const other = { ...config, model: { ...config.model, sequenceLength: 64 } };
    await expect(Dataset.open(other)).rejects.toMatchObject({
      code: 'not_found',
      message: `there is no data index ${join(folder.path, 'index', 'bytes-T64-K4-I3')} (there are indexes for other parameters: bytes-T48-K4-I3)`,
      hint: 'run weft data index <recipe>',
    });
    const small = { ...config, model: { ...config.model, decoder: { ...config.model.decoder, vocabularySize: 256 } } };
    await expect(Dataset.open(small)).rejects.toThrow(
      'model.decoder.vocabularySize is 256, but the tokenizer bytes has 260',
    );
    await rename(indexFolder, join(folder.path, 'index', 'bytes-T64-K4-I3'));
    await expect(Dataset.open(other)).rejects.toThrow('was made with sequenceLength 48, but this run has 64');
    await rename(join(folder.path, 'index', 'bytes-T64-K4-I3'), indexFolder);
  });

  it('is refused when a shard is missing, has another size, is new, or has other bytes', async () => {
    const shard = join(folder.path, 'captioned', 'c-1.tar');
    await rename(shard, `${shard}.away`);
    await expect(Dataset.open(config)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('c-1.tar'),
    });
    await rename(`${shard}.away`, shard);

    const { size } = await stat(shard);
    await appendFile(shard, Buffer.alloc(512));
    await expect(Dataset.open(config)).rejects.toThrow(`has ${size + 512} bytes, but had ${size} when it was indexed`);
    const original = (await readFile(shard)).subarray(0, size);
    await writeFile(shard, original);

    const extra = join(folder.path, 'text', 'new.txt');
    await writeFile(extra, 'more');
    await expect(Dataset.open(config)).rejects.toThrow('new.txt is not in the data index');
    await rm(extra);

    const changed = Buffer.from(original);
    changed[600] = changed[600]! ^ 1;
    await writeFile(shard, changed);
    await expect(inspectDataset({ ...config, verify: true })).rejects.toThrow(/c-1\.tar has changed: its SHA-256/);
    await writeFile(shard, original);
  });

  it('is refused when the index itself is damaged', async () => {
    const manifestPath = join(indexFolder, 'index.json');
    const manifest = await readFile(manifestPath, 'utf8');
    const damage = async (text: string) => {
      await writeFile(manifestPath, text);
      return Dataset.open(config);
    };
    await expect(damage('{')).rejects.toThrow('it is not a JSON object');
    await expect(damage(manifest.replace('"documents": 14', '"documents": "14"'))).rejects.toThrow(
      'field "documents" is missing or wrong',
    );
    await expect(damage(manifest.replace('"formatVersion": 1', '"formatVersion": 9'))).rejects.toMatchObject({
      code: 'version_mismatch',
    });
    await truncate(manifestPath, 200 * 1024 * 1024);
    await expect(Dataset.open(config)).rejects.toThrow('has 209715200 bytes, and no such file has more than');
    await writeFile(manifestPath, manifest);

    const tokens = join(indexFolder, 'captioned.tokens.bin');
    const bytes = await readFile(tokens);
    await writeFile(tokens, bytes.subarray(1));
    await expect(Dataset.open(config)).rejects.toThrow(`has ${bytes.length - 1} bytes instead of ${bytes.length}`);
    await rm(tokens);
    await expect(Dataset.open(config)).rejects.toThrow('captioned.tokens.bin is missing');
    const flipped = Buffer.from(bytes);
    flipped.writeUInt16LE(65, 0);
    await writeFile(tokens, flipped);
    const dataset = await Dataset.open(config);
    await expect(dataset.readSequence('captioned', 0)).rejects.toThrow('contradicts itself about captioned sequence 0');
    await dataset.close();
    await writeFile(tokens, bytes);

    const sequences = join(indexFolder, 'text.sequences.bin');
    const records = await readFile(sequences);
    const absurd = Buffer.from(records);
    absurd.writeUInt32LE(0xffffffff, 24);
    await writeFile(sequences, absurd);
    const second = await Dataset.open(config);
    await expect(second.readSequence('text', 0)).rejects.toThrow('contradicts itself about text sequence 0');
    await second.close();
    await writeFile(sequences, records);
  });
});
