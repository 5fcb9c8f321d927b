import { posix } from 'node:path';
import { isJsonObject, type JsonObject, WeftError } from '@weft/common';
import type { DatasetSettings } from '@weft/config';
import { INTERLEAVED_HINT, interleavedParts } from './interleaved.js';
import type { LeftOut } from './left-out.js';
import { parseJson } from './parse-json.js';
import type { ShardFile } from './shard-file.js';
import type { TarEntry } from './walk-tar.js';

/** Members with the same key: `0001.png`, `0001.txt` and `0001.json` are one sample. */
export interface WebDatasetSample {
  /** Path and basename up to its first dot, or to its last: see `keyEndsAt`. */
  readonly key: string;
  /** Keyed by what follows the dot, in lower case: `png`, `json`, `0.png`. */
  readonly members: ReadonlyMap<string, TarEntry>;
  /** A member that is there twice. */
  readonly twice?: TarEntry;
}

/** One part of the content of a sample: a text, or the member that holds an image. */
export type SamplePart = { readonly text: string } | { readonly image: TarEntry };

/** What a sample holds in reading order, and the members it was read from. */
export interface SampleContent {
  readonly content: readonly SamplePart[];
  readonly read: ReadonlySet<TarEntry>;
}

/** How the samples of a shard are read. */
export type SampleSettings = Pick<DatasetSettings, 'keyEndsAt' | 'captionField' | 'captionMember' | 'imageMember'>;

/**
 * The samples of a WebDataset shard, in order. Members of a sample are adjacent, as the format requires. Hidden members
 * and members without an extension are skipped.
 *
 * @param onLeftOut gets those skipped
 * @throws WeftError `corrupt_data` for a damaged archive
 */
export async function* webDatasetSamples(
  shard: ShardFile,
  { keyEndsAt }: Pick<SampleSettings, 'keyEndsAt'>,
  onLeftOut: (member: LeftOut) => void,
): AsyncGenerator<WebDatasetSample, void, undefined> {
  let key: string | undefined;
  let members = new Map<string, TarEntry>();
  let twice: TarEntry | undefined;
  const sample = (key: string) => ({ key, members, ...(twice === undefined ? {} : { twice }) });
  for await (const entry of shard.entries()) {
    const folderEnd = entry.name.lastIndexOf('/') + 1;
    const dot = keyEndsAt === 'lastDot' ? entry.name.lastIndexOf('.') : entry.name.indexOf('.', folderEnd);
    if (dot <= folderEnd) {
      const reason = dot === folderEnd ? 'its name begins with a dot' : 'its name has no extension';
      onLeftOut({ name: entry.name, reason });
      continue;
    }
    const entryKey = entry.name.slice(0, dot);
    const extension = entry.name.slice(dot + 1).toLowerCase();
    if (entryKey !== key) {
      if (key !== undefined) yield sample(key);
      key = entryKey;
      members = new Map();
      twice = undefined;
    }
    if (members.has(extension)) twice ??= entry;
    else members.set(extension, entry);
  }
  if (key !== undefined) yield sample(key);
}

/** @throws WeftError `corrupt_data` for a sample that has a member twice */
function checkMembers(shard: ShardFile, { twice }: WebDatasetSample): void {
  if (twice === undefined) return;
  throw new WeftError('corrupt_data', `${shard.path} holds ${twice.name} twice in one sample`, {
    hint: 'give every member of a shard its own name',
  });
}

const IMAGE = /(^|\.)(png|jpe?g|webp|gif|tiff?|avif)$/;

/**
 * A captioned sample: its image, then its caption. Where the settings name no members, the image is the one member with an
 * extension of images, of several the one with a single extension (`.jpg` beside `.mask.png`); without any, the one whose
 * bytes are an image. The caption is `.txt`, or the field `caption` or `text` of `.json`, or the one member that ends in
 * `.txt` (`.outputs.txt`).
 *
 * @throws WeftError `corrupt_data` naming shard and sample when one of them is missing or there are two images
 */
export async function readCaptioned(
  shard: ShardFile,
  sample: WebDatasetSample,
  settings: SampleSettings,
): Promise<SampleContent> {
  checkMembers(shard, sample);
  const image =
    settings.imageMember === null
      ? await findImage(shard, sample)
      : await findMember(shard, sample, 'imageMember', settings.imageMember);
  const { text, member } = await readCaption(shard, sample, settings);
  return { content: [{ image }, { text }], read: new Set([image, member]) };
}

/** The member that a setting names. */
async function findMember(
  shard: ShardFile,
  sample: WebDatasetSample,
  field: 'imageMember' | 'captionMember',
  name: string,
): Promise<TarEntry> {
  const found = sample.members.get(name.toLowerCase().replace(/^\./, ''));
  if (found !== undefined) return found;
  const hint = `set data.datasets.<dataset>.${field} to one of its members`;
  throw await badSample(shard, sample, `has no member ${name}${membersOf(sample)}`, hint);
}

async function findImage(shard: ShardFile, sample: WebDatasetSample): Promise<TarEntry> {
  const named = [...sample.members].filter(([extension]) => IMAGE.test(extension));
  const plain = named.filter(([extension]) => !extension.includes('.'));
  const fitting = plain.length === 1 ? plain : named;
  const images = fitting.length > 0 ? fitting.map(([, entry]) => entry) : await imagesByContent(shard, sample);
  const [image] = images;
  if (image !== undefined && images.length === 1) return image;
  const hint = 'give every captioned sample exactly one image';
  throw await badSample(shard, sample, `holds ${images.length} images${membersOf(sample)}`, hint);
}

/** The members that are no text by their names, and images by their first bytes. */
async function imagesByContent(shard: ShardFile, sample: WebDatasetSample): Promise<TarEntry[]> {
  const images: TarEntry[] = [];
  for (const [extension, entry] of sample.members) {
    if (/(^|\.)(txt|json)$/.test(extension)) continue;
    const start = await shard.read(entry.offset, Math.min(SIGNATURE_BYTES, entry.bytes));
    if (IMAGE_SIGNATURE.test(start.toString('latin1'))) images.push(entry);
  }
  return images;
}

const SIGNATURE_BYTES = 12;
/** How files begin that the decoder reads: JPEG, PNG, GIF, TIFF of both byte orders, WebP, AVIF. */
const IMAGE_SIGNATURE = /^(\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II\*\0|MM\0\*|RIFF[\s\S]{4}WEBP|[\s\S]{4}ftypavi[fs])/;

async function readCaption(
  shard: ShardFile,
  sample: WebDatasetSample,
  { captionMember, captionField }: SampleSettings,
): Promise<{ readonly text: string; readonly member: TarEntry }> {
  if (captionMember !== null && captionField === null) {
    const member = await findMember(shard, sample, 'captionMember', captionMember);
    return { text: await readText(shard, member), member };
  }
  const text = sample.members.get('txt');
  if (text !== undefined && captionField === null) return { text: await readText(shard, text), member: text };
  const json = sample.members.get(captionMember?.toLowerCase() ?? 'json');
  const content = json === undefined ? undefined : await readJson(shard, json);
  const fields: JsonObject = isJsonObject(content) ? content : {};
  for (const field of captionField === null ? ['caption', 'text'] : [captionField]) {
    const value = Object.hasOwn(fields, field) ? fields[field] : undefined;
    if (typeof value === 'string' && json !== undefined) return { text: value, member: json };
  }
  const [other, ...others] = [...sample.members].filter(([extension]) => extension.endsWith('.txt'));
  if (captionField === null && other !== undefined && others.length === 0)
    return { text: await readText(shard, other[1]), member: other[1] };
  const names = Object.keys(fields).slice(0, NAMES_SHOWN);
  const seen = names.length === 0 ? membersOf(sample) : `: the fields of its .json are ${names.join(', ')}`;
  const hint =
    names.length === 0
      ? 'add a .txt member, or a .json member with the field "caption"'
      : 'name the field that holds it: data.datasets.<dataset>.captionField';
  const caption = captionField === null ? 'has no caption' : `has no caption in the field "${captionField}"`;
  throw await badSample(shard, sample, `${caption}${seen}`, hint);
}

/** Members or fields that a message names. */
const NAMES_SHOWN = 10;

const membersOf = ({ members }: WebDatasetSample) =>
  ` (its members: ${[...members.keys()].slice(0, NAMES_SHOWN).join(', ')})`;

/**
 * The parts of an interleaved sample in reading order: what its `.json` member says, see `interleavedParts`. An image is named
 * with or without the key of the sample, or by its URL, of which the file name counts.
 *
 * @throws WeftError `corrupt_data` naming shard, sample and index
 */
export async function readInterleaved(shard: ShardFile, sample: WebDatasetSample): Promise<SampleContent> {
  checkMembers(shard, sample);
  const json = sample.members.get('json');
  if (json === undefined) throw await badSample(shard, sample, 'has no .json member', INTERLEAVED_HINT);
  const parts = interleavedParts(await readJson(shard, json));
  if (typeof parts === 'string') throw await badSample(shard, sample, parts, INTERLEAVED_HINT);
  const read = new Set([json]);
  const content: SamplePart[] = [];
  for (const part of parts) {
    if ('text' in part) {
      content.push(part);
      continue;
    }
    const entry = part.image.map((name) => memberNamed(sample, name)).find((member) => member !== undefined);
    if (entry === undefined) {
      const names = part.image.map((name) => JSON.stringify(name)).join(' or ');
      throw await badSample(shard, sample, `names the image ${names}, which it does not hold`, INTERLEAVED_HINT);
    }
    read.add(entry);
    content.push({ image: entry });
  }
  return { content, read };
}

function memberNamed({ key, members }: WebDatasetSample, name: string): TarEntry | undefined {
  const file = /^[a-z0-9+.-]+:\/\//i.test(name) ? posix.basename(name.replace(/[?#].*$/s, '')) : name;
  const extension = file.startsWith(`${key}.`) ? file.slice(key.length + 1) : file;
  return members.get(extension.toLowerCase());
}

async function readText(shard: ShardFile, entry: TarEntry): Promise<string> {
  const content = await shard.read(entry.offset, entry.bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw new WeftError('corrupt_data', `${entry.name} in ${shard.path} is not UTF-8 text`);
  }
}

/** The value of a member of JSON. @throws WeftError `corrupt_data` */
export async function readJson(shard: ShardFile, entry: TarEntry): Promise<unknown> {
  const text = await readText(shard, entry);
  try {
    return parseJson(text);
  } catch (thrown) {
    throw new WeftError(
      'corrupt_data',
      `${entry.name} in ${shard.path} is not JSON: ${WeftError.from(thrown).message}`,
    );
  }
}

/** The error for a sample that cannot be read; when its members do not lie side by side, that is the reason it gives. */
async function badSample(shard: ShardFile, sample: WebDatasetSample, what: string, hint: string): Promise<WeftError> {
  const apart = await membersApart(shard, sample);
  const names = new Set([...sample.members.values()].map(({ name }) => name));
  const twice = apart.find(({ name }) => names.has(name));
  if (twice !== undefined)
    return new WeftError('corrupt_data', `${twice.name} in ${shard.path} comes a second time, apart from its sample`, {
      hint: 'pack the shard anew, every member once',
    });
  const [astray] = apart;
  if (astray !== undefined)
    return new WeftError(
      'corrupt_data',
      `the members of the sample ${sample.key} in ${shard.path} do not lie side by side: ${astray.name} lies elsewhere`,
      { hint: 'pack the shard anew with tar --sort=name' },
    );
  return new WeftError('corrupt_data', `the sample ${sample.key} in ${shard.path} ${what}`, { hint });
}

/** Members of the sample that lie among those of others. Walks the shard: for messages only. */
async function membersApart(shard: ShardFile, sample: WebDatasetSample): Promise<readonly TarEntry[]> {
  const own = new Set([...sample.members.values()].map(({ offset }) => offset));
  const apart: TarEntry[] = [];
  try {
    for await (const entry of shard.entries())
      if (entry.name.startsWith(`${sample.key}.`) && !own.has(entry.offset)) apart.push(entry);
  } catch {
    // The archive is damaged further on: what was found before that stands.
  }
  return apart;
}
