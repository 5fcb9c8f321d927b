import { WeftError } from '@weft/common';
import type { TarEntry } from '../tar/walk-tar.js';
import type { ShardFile } from './shard-file.js';
import type { WebDatasetSample } from './web-dataset.js';

/** One part of an interleaved document: a text, or the member that holds an image. */
export type InterleavedPart = { readonly text: string } | { readonly image: TarEntry };

const IMAGE = /(^|\.)(png|jpe?g|webp|gif|tiff?|avif)$/;

/**
 * The image and the caption of a captioned sample: one image member, and a caption in `.txt`, or in the field
 * `caption` or `text` of `.json`.
 *
 * @throws `corrupt_data` naming shard and sample when one of them is missing or there are two images.
 */
export async function captionedContent(
  shard: ShardFile,
  sample: WebDatasetSample,
): Promise<{ image: TarEntry; caption: string }> {
  const images = [...sample.members].filter(([extension]) => IMAGE.test(extension)).map(([, entry]) => entry);
  const [image] = images;
  if (image === undefined || images.length > 1)
    throw bad(shard, sample, `holds ${images.length} images`, 'give every captioned sample exactly one image');
  return { image, caption: await caption(shard, sample) };
}

async function caption(shard: ShardFile, sample: WebDatasetSample): Promise<string> {
  const text = sample.members.get('txt');
  if (text !== undefined) return readText(shard, text);
  const json = sample.members.get('json');
  if (json !== undefined) {
    const content = await readJson(shard, json);
    for (const field of ['caption', 'text']) {
      const value = isRecord(content) ? content[field] : undefined;
      if (typeof value === 'string') return value;
    }
  }
  throw bad(shard, sample, 'has no caption', 'add a .txt member, or a .json member with the field "caption"');
}

/**
 * The parts of an interleaved sample in reading order. Its `.json` member holds two lists of one length, `texts` and
 * `images`: at each index one is null and the other is a text, or the name of an image member (with or without the
 * sample's key).
 *
 * @throws `corrupt_data` naming shard, sample and index.
 */
export async function interleavedContent(
  shard: ShardFile,
  sample: WebDatasetSample,
): Promise<readonly InterleavedPart[]> {
  const cure =
    'give the sample a .json member with the lists "texts" and "images" of one length, one of both null at each index';
  const json = sample.members.get('json');
  if (json === undefined) throw bad(shard, sample, 'has no .json member', cure);
  const content = await readJson(shard, json);
  const texts: unknown = isRecord(content) ? content.texts : undefined;
  const images: unknown = isRecord(content) ? content.images : undefined;
  if (!Array.isArray(texts) || !Array.isArray(images) || texts.length !== images.length)
    throw bad(shard, sample, 'has no lists "texts" and "images" of one length', cure);
  return texts.map((text: unknown, index): InterleavedPart => {
    const image: unknown = images[index];
    if (typeof text === 'string' && image === null) return { text };
    if (text !== null || typeof image !== 'string')
      throw bad(shard, sample, `has at index ${index} neither a text alone nor an image alone`, cure);
    const short = image.startsWith(`${sample.key}.`) ? image.slice(sample.key.length + 1) : image;
    const entry = sample.members.get(short.toLowerCase());
    if (entry === undefined)
      throw bad(shard, sample, `names the image ${JSON.stringify(image)}, which it does not hold`, cure);
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

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(shard: ShardFile, sample: WebDatasetSample, what: string, cure: string): WeftError {
  return new WeftError('corrupt_data', `the sample ${sample.key} in ${shard.path} ${what}`, { cure });
}
