import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { indexDataset, TarWriter } from '@weft/data';
import { temporaryDirectory } from '@weft/testing';

/** A PNG of one pixel. */
export const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
);

const NAMES = 'Aland Belia Covia Doria Elbia Foria Garia Helia Idria Jovia Kelia Lomia'.split(' ');

/** Data like the demo's, in small and indexed, for a tiny model of the byte tokenizer. */
export interface DemoLikeData extends AsyncDisposable {
  /** A path in its folder. */
  at(name: string): string;
  /** A run on it. */
  runWith(evaluation: object, changes?: object): RunConfig;
}

/** Writes the data into a temporary folder. */
export async function demoLikeData(): Promise<DemoLikeData> {
  const folder = await temporaryDirectory();
  const at = (name: string) => join(folder.path, name);
  const runWith = (evaluation: object, changes: object = {}) =>
    resolveRunConfig({
      steps: 10,
      globalBatchSize: 4,
      model: {
        sequenceLength: 128,
        vision: { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 1, feedForwardWidth: 8 },
        connector: { tokensPerImage: 4 },
        decoder: { width: 8, depth: 1, heads: 1, feedForwardWidth: 8 },
      },
      data: { directory: folder.path, imagesPerSequence: 4, ...changes },
      optimizer: { learningRate: 1 },
      evaluation,
    });
  for (const source of ['captioned', 'interleaved', 'text']) await mkdir(at(source));
  await writeTar(
    at('captioned/a.tar'),
    NAMES.flatMap((name) => [
      [`${name}.png`, PIXEL],
      [`${name}.txt`, `${name} sign. Keywords: a, b.`],
    ]),
  );
  await writeTar(
    at('interleaved/a.tar'),
    NAMES.flatMap((name) => {
      const texts = [null, `The flag of ${name}, officially ${name}. Its capital is ${name} City.`];
      return [
        [`${name}.png`, PIXEL],
        [`${name}.json`, JSON.stringify({ texts, images: ['png', null] })],
      ];
    }),
  );
  const lines = NAMES.map((name) =>
    JSON.stringify({ text: `In ${name} all of the people like to sing${name}. And so` }),
  );
  await writeFile(at('text/a.jsonl'), lines.join('\n'));
  await indexDataset(runWith({}));
  return { at, runWith, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

type Member = readonly [name: string, content: string | Buffer];

async function writeTar(path: string, members: readonly (Member | (string | Buffer)[])[]): Promise<void> {
  const tar = await TarWriter.create(path);
  for (const [name, content] of members) await tar.add(`${name}`, Buffer.from(content ?? ''));
  await tar.finish();
}
