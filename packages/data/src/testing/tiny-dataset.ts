import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Random } from '@weft/common';
import {
  type DataConfig,
  DEFAULT_CHAT_TEMPLATE,
  DEFAULT_DECODER,
  DEFAULT_IMAGES,
  DEFAULT_REMOTE,
  DEFAULT_SOURCE_KINDS,
  DEFAULT_VISION,
  type ModelConfig,
} from '@weft/config';
import sharp from 'sharp';
import { TarWriter } from '../formats/tar-writer.js';

/** The members of a tar archive, in order. */
export type Members = readonly (readonly [name: string, content: string | Uint8Array])[];

/** Writes a tar archive; the file must not exist. */
export async function writeTar(path: string, members: Members): Promise<void> {
  const writer = await TarWriter.create(path);
  for (const [name, content] of members) await writer.add(name, Buffer.from(content));
  await writer.finish();
}

/** 8 bits per channel. */
export type Colour = readonly [red: number, green: number, blue: number];

/** A PNG of one colour. */
export function png([r, g, b]: Colour, width = 10, height = 8): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: { r, g, b } } })
    .png()
    .toBuffer();
}

/** What a tiny dataset was made of, to compare with what is read back. */
export interface TinyContent {
  readonly captioned: readonly { caption: string; colour: Colour }[];
  readonly interleaved: readonly (string | Colour)[][];
  readonly text: readonly string[];
}

/** Writes shards of all three sources; the same every time. */
export async function writeTinyDataset(directory: string): Promise<TinyContent> {
  const random = Random.of('tiny dataset');
  const colour = (): Colour => [random.below(256), random.below(256), random.below(256)];
  const words = (count: number) =>
    Array.from({ length: count }, () => 'weft loom yarn é 織'.split(' ')[random.below(5)]).join(' ');

  const captioned = Array.from({ length: 14 }, () => ({ caption: words(1 + random.below(5)), colour: colour() }));
  await mkdir(join(directory, 'captioned'), { recursive: true });
  for (const [shard, samples] of [captioned.slice(0, 8), captioned.slice(8)].entries()) {
    const members: [string, string | Uint8Array][] = [];
    for (const [i, sample] of samples.entries()) {
      members.push([`${i}.png`, await png(sample.colour)]);
      if (i % 2 === 0) members.push([`${i}.txt`, sample.caption]);
      else members.push([`${i}.json`, JSON.stringify({ caption: sample.caption })]);
    }
    await writeTar(join(directory, 'captioned', `c-${shard}.tar`), members);
  }

  const interleaved = Array.from({ length: 6 }, (_, i) =>
    Array.from({ length: 3 + i }, (_, part) => (part % 2 === i % 2 ? colour() : words(1 + random.below(8)))),
  );
  await mkdir(join(directory, 'interleaved'), { recursive: true });
  const members: [string, string | Uint8Array][] = [];
  for (const [i, parts] of interleaved.entries()) {
    const images: (string | null)[] = [];
    for (const [n, part] of parts.entries()) {
      images.push(typeof part === 'string' ? null : `${n}.png`);
      if (typeof part !== 'string') members.push([`doc${i}.${n}.png`, await png(part)]);
    }
    const texts = parts.map((part) => (typeof part === 'string' ? part : null));
    members.push([`doc${i}.json`, JSON.stringify({ texts, images })]);
  }
  await writeTar(join(directory, 'interleaved', 'i-0.tar'), members);

  const text = [words(3), words(40), words(1), words(25)];
  await mkdir(join(directory, 'text'), { recursive: true });
  const lines = text.slice(0, 3).map((line) => JSON.stringify({ text: line }));
  await writeFile(join(directory, 'text', 'a.jsonl'), `${lines.join('\n')}\n`);
  await writeFile(join(directory, 'text', 'b.txt'), text[3]!);
  return { captioned, interleaved, text };
}

/** The parameters the tests pack with: rows of 48 positions, 4 positions an image, 3 images a row, 6-pixel images. */
export function tinyConfig(directory: string): { data: DataConfig; model: ModelConfig } {
  return {
    data: {
      directory,
      tokenizer: 'bytes',
      sources: DEFAULT_SOURCE_KINDS,
      weights: { captioned: 4, interleaved: 4, text: 1 },
      imagesPerSequence: 3,
      images: DEFAULT_IMAGES,
      chatTemplate: DEFAULT_CHAT_TEMPLATE,
      skippedBatches: [],
      indexVersion: null,
      mixtureChanges: [],
      prefetchSteps: 2,
      datasets: {},
      index: null,
      remote: DEFAULT_REMOTE,
      shuffle: null,
    },
    model: {
      sequenceLength: 48,
      vision: { ...DEFAULT_VISION, imageSize: 6, patchSize: 3, width: 8, depth: 1, heads: 1, feedForwardWidth: 8 },
      connector: { kind: 'averagePool', tokensPerImage: 4, hiddenWidth: 8, depth: 1 },
      decoder: {
        ...DEFAULT_DECODER,
        vocabularySize: 260,
        width: 8,
        depth: 1,
        heads: 1,
        headWidth: 8,
        keyValueHeads: 1,
        feedForwardWidth: 8,
        ropeTheta: 10_000,
        qkNorm: false,
        normEpsilon: 1e-5,
        moe: null,
      },
    },
  };
}
