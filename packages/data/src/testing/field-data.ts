import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DatasetSettings, DEFAULT_DATASET, type SourceKind } from '@weft/config';
import type { Tokenizer } from '../formats/tokenizer.js';
import { Dataset } from '../index/dataset.js';
import { indexDataset } from '../index/index-dataset.js';
import { IMAGE_ENTRY } from '../index/packed-sequence.js';
import { type Members, tinyConfig, writeTar } from './tiny-dataset.js';

/** Files below the folder of a dataset: members of an archive, or contents. */
export type FieldFiles = Readonly<Record<string, Members | string | Uint8Array>>;

/** A run over one dataset, called as its kind. */
export function fieldConfig(directory: string, kind: SourceKind, settings: Partial<DatasetSettings> = {}) {
  const config = tinyConfig(directory);
  return {
    ...config,
    data: {
      ...config.data,
      sources: { [kind]: kind },
      weights: { [kind]: 1 },
      datasets: { [kind]: { ...DEFAULT_DATASET, ...settings } },
    },
  };
}

/** Writes the files of a dataset. */
async function writeField(folder: string, files: FieldFiles): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    if (Array.isArray(content)) await writeTar(path, content as Members);
    else await writeFile(path, content as string | Uint8Array);
  }
}

/**
 * Indexes one dataset and reads it back.
 *
 * @returns every document as a text with `⟨member⟩` for an image, in their order; and what is left out, by name
 */
export async function indexField(
  directory: string,
  kind: SourceKind,
  files: FieldFiles,
  settings: Partial<DatasetSettings> = {},
): Promise<{ readonly documents: readonly string[]; readonly leftOut: Readonly<Record<string, string>> }> {
  await writeField(join(directory, kind), files);
  const config = fieldConfig(directory, kind, settings);
  const { leftOut } = await indexDataset(config);
  const dataset = await Dataset.open(config);
  try {
    const parts = new Map<number, Map<number, readonly (number | string)[]>>();
    for (let i = 0; i < dataset.sequences[kind]!; i++)
      for (const { document, part, entries, images } of (await dataset.readSequence(kind, i)).segments) {
        const names = await Promise.all(images.map((image) => dataset.imageName(kind, image)));
        const read = Array.from(entries, (entry) => (entry === IMAGE_ENTRY ? `⟨${names.shift()}⟩` : entry));
        const ofDocument = parts.get(document) ?? new Map<number, readonly (number | string)[]>();
        parts.set(document, ofDocument.set(part, read));
      }
    const inOrder = <T>(map: ReadonlyMap<number, T>) => [...map].sort(([a], [b]) => a - b).map(([, value]) => value);
    return {
      documents: inOrder(parts).map((each) => spelled(inOrder(each).flat(), dataset.tokenizer)),
      leftOut: Object.fromEntries(leftOut.flatMap(({ reason, names }) => names.map((name) => [name, reason]))),
    };
  } finally {
    await dataset.close();
  }
}

/** A character may begin in one segment and end in the next, so tokens are decoded together. */
function spelled(entries: readonly (number | string)[], tokenizer: Tokenizer): string {
  let text = '';
  let run: number[] = [];
  for (const entry of [...entries, '']) {
    if (typeof entry === 'number') run.push(entry);
    else {
      text += tokenizer.decode(run) + entry;
      run = [];
    }
  }
  return text;
}

/** A file of one row, `{"text": "…"}`, as pyarrow writes it, in Base64. */
export const PARQUET =
  'UEFSMRUEFRQVGEwVAhUAEgAACiQGAAAAaGlkZGVuFQAVEhUWLBUCFRAVBhUGHDYAKAZoaWRkZW4YBmhpZGRlbhERAAAACSACAAAAAgEBAgAVBBksNQAYBnNjaGVtYRUCABUMJQIYBHRleHQlAEwcAAAAFgIZHBkcJgAcFQwZNQAGEBkYBHRleHQVAhYCFpABFpgBJjwmCBw2ACgGaGlkZGVuGAZoaWRkZW4REQAZLBUEFQAVAgAVABUQFQIAPBYMGQYZJgACAAAAFpABFgImCBaYAQAZHBgMQVJST1c6c2NoZW1hGKABLy8vLy8zQUFBQUFRQUFBQUFBQUtBQXdBQmdBRkFBZ0FDZ0FBQUFBQkJBQU1BQUFBQ0FBSUFBQUFCQUFJQUFBQUJBQUFBQUVBQUFBVUFBQUFFQUFVQUFnQUJnQUhBQXdBQUFBUUFCQUFBQUFBQUFFRkVBQUFBQndBQUFBRUFBQUFBQUFBQUFRQUFBQjBaWGgwQUFBQUFBUUFCQUFFQUFBQQAYIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGRwcAAAAYAEAAFBBUjE=';
