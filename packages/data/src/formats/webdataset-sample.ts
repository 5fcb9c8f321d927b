import { isJsonObject, WeftError } from '@weft/common';
import type { ShardFile } from './shard-file.js';
import type { TarEntry } from './walk-tar.js';

/** Members with the same basename: `0001.png`, `0001.txt` and `0001.json` are one sample. */
export interface WebDatasetSample {
  /** Path and basename up to its first dot. */
  readonly key: string;
  /** Keyed by extension, which is all after the first dot, in lower case: `png`, `json`, `0.png`. */
  readonly members: ReadonlyMap<string, TarEntry>;
}

/** One part of the content of a sample: a text, or the member that holds an image. */
export type SamplePart = { readonly text: string } | { readonly image: TarEntry };

/**
 * The samples of a WebDataset shard, in order. Members of a sample are adjacent, as the format requires. Hidden members
 * and members without an extension are skipped.
 *
 * @throws WeftError `corrupt_data` for a damaged archive, or for two members of one name in a sample
 */
export async function* webDatasetSamples(shard: ShardFile): AsyncGenerator<WebDatasetSample, void, undefined> {
  let key: string | undefined;
  let members = new Map<string, TarEntry>();
  for await (const entry of shard.entries()) {
    const folderEnd = entry.name.lastIndexOf('/') + 1;
    const dot = entry.name.indexOf('.', folderEnd);
    if (dot <= folderEnd) continue;
    const entryKey = entry.name.slice(0, dot);
    const extension = entry.name.slice(dot + 1).toLowerCase();
    if (entryKey !== key) {
      if (key !== undefined) yield { key, members };
      key = entryKey;
      members = new Map();
    }
    if (members.has(extension))
      throw new WeftError('corrupt_data', `${shard.path} holds ${entry.name} twice in one sample`, {
        hint: 'give every member of a shard its own name',
      });
    members.set(extension, entry);
  }
  if (key !== undefined) yield { key, members };
}

const IMAGE = /(^|\.)(png|jpe?g|webp|gif|tiff?|avif)$/;

/**
 * A captioned sample: its one image, then its caption from `.txt`, or from the field `caption` or `text` of `.json`.
 *
 * @throws WeftError `corrupt_data` naming shard and sample when one of them is missing or there are two images
 */
export async function readCaptioned(shard: ShardFile, sample: WebDatasetSample): Promise<readonly SamplePart[]> {
  const images = [...sample.members].filter(([extension]) => IMAGE.test(extension)).map(([, entry]) => entry);
  const [image] = images;
  if (image === undefined || images.length > 1)
    throw badSample(shard, sample, `holds ${images.length} images`, 'give every captioned sample exactly one image');
  return [{ image }, { text: await readCaption(shard, sample) }];
}

async function readCaption(shard: ShardFile, sample: WebDatasetSample): Promise<string> {
  const text = sample.members.get('txt');
  if (text !== undefined) return readText(shard, text);
  const json = sample.members.get('json');
  if (json !== undefined) {
    const content = await readJson(shard, json);
    for (const field of ['caption', 'text']) {
      const value = isJsonObject(content) ? content[field] : undefined;
      if (typeof value === 'string') return value;
    }
  }
  throw badSample(shard, sample, 'has no caption', 'add a .txt member, or a .json member with the field "caption"');
}

/**
 * The parts of an interleaved sample in reading order. Its `.json` member holds two lists of one length, `texts` and
 * `images`: at each index one is null and the other is a text, or the name of an image member (with or without the
 * sample's key).
 *
 * @throws WeftError `corrupt_data` naming shard, sample and index
 */
export async function readInterleaved(shard: ShardFile, sample: WebDatasetSample): Promise<readonly SamplePart[]> {
  const hint =
    'give the sample a .json member with the lists "texts" and "images" of one length, one of both null at each index';
  const json = sample.members.get('json');
  if (json === undefined) throw badSample(shard, sample, 'has no .json member', hint);
  const content = await readJson(shard, json);
  const texts: unknown = isJsonObject(content) ? content.texts : undefined;
  const images: unknown = isJsonObject(content) ? content.images : undefined;
  if (!Array.isArray(texts) || !Array.isArray(images) || texts.length !== images.length)
    throw badSample(shard, sample, 'has no lists "texts" and "images" of one length', hint);
  return texts.map((text: unknown, index): SamplePart => {
    const image: unknown = images[index];
    if (typeof text === 'string' && image === null) return { text };
    if (text !== null || typeof image !== 'string')
      throw badSample(shard, sample, `has at index ${index} neither a text alone nor an image alone`, hint);
    const extension = image.startsWith(`${sample.key}.`) ? image.slice(sample.key.length + 1) : image;
    const entry = sample.members.get(extension.toLowerCase());
    if (entry === undefined)
      throw badSample(shard, sample, `names the image ${JSON.stringify(image)}, which it does not hold`, hint);
    return { image: entry };
  });
}

async function readText(shard: ShardFile, entry: TarEntry): Promise<string> {
  const content = await shard.read(entry.offset, entry.bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw new WeftError('corrupt_data', `${entry.name} in ${shard.path} is not UTF-8 text`);
  }
}

async function readJson(shard: ShardFile, entry: TarEntry): Promise<unknown> {
  const text = await readText(shard, entry);
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new WeftError(
      'corrupt_data',
      `${entry.name} in ${shard.path} is not JSON: ${WeftError.from(thrown).message}`,
    );
  }
}

function badSample(shard: ShardFile, sample: WebDatasetSample, what: string, hint: string): WeftError {
  return new WeftError('corrupt_data', `the sample ${sample.key} in ${shard.path} ${what}`, { hint });
}
