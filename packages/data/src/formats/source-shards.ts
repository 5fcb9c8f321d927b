import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { isJsonObject, WeftError } from '@weft/common';
import type { ChatTemplate, DatasetSettings, SourceKind } from '@weft/config';
import { diskShards, joinPath, type ShardStore } from '@weft/files';
import { chatParts } from './chat-template.js';
import { readConversation } from './conversation.js';
import {
  type BadSample,
  type DocumentPart,
  type ImageLocation,
  REST_OF_SHARD,
  type SourceDocument,
  textParts,
} from './document.js';
import { INTERLEAVED_HINT, interleavedParts } from './interleaved.js';
import type { LeftOut } from './left-out.js';
import { ShardFile } from './shard-file.js';
import { holdsImages, isArchive, SourceImages } from './source-images.js';
import { sourceRecords } from './source-records.js';
import { textDocuments } from './text-shard.js';
import type { TarEntry } from './walk-tar.js';
import {
  readCaptioned,
  readInterleaved,
  readJson,
  type SampleContent,
  type SamplePart,
  webDatasetSamples,
} from './webdataset-sample.js';

/** Documents and samples that are none, in the order of the shard. */
export type ShardDocuments = AsyncIterable<SourceDocument | BadSample> | Iterable<SourceDocument | BadSample>;

/** Gets what is not read inside a shard, named in the shard. */
export type OnLeftOut = (what: LeftOut) => void;

/** What the shards of a dataset are read by. */
export interface ReaderOptions {
  /** The folder of the dataset. */
  readonly folder: string;
  readonly kind: SourceKind;
  /** Paths below the folder, in the order of their numbers. */
  readonly shards: readonly string[];
  readonly settings: DatasetSettings;
  /** Of conversations. */
  readonly chatTemplate: ChatTemplate;
  /** Where they are read from; default: this machine. */
  readonly store?: ShardStore;
}

/**
 * Reads the shards of a dataset as its kind asks. Images of documents that are records lie beside them: see `SourceImages`.
 * A captioned document is its image, then its caption.
 */
export class ShardReader {
  readonly #options: ReaderOptions;
  readonly #store: ShardStore;
  readonly #images: SourceImages | undefined;
  /** What is wrong with archives of images, by their numbers. */
  readonly #damaged: ReadonlyMap<number, WeftError>;

  /** @throws WeftError `corrupt_data` for a damaged archive of images */
  static async open(options: ReaderOptions): Promise<ShardReader> {
    const { folder, kind, shards, store, settings } = options;
    const hasRecords = kind === 'conversations' || (kind === 'interleaved' && !shards.every(holdsImages));
    const damaged = new Map<number, WeftError>();
    const onDamaged =
      settings.badSamples === 'skip'
        ? (shard: number, problem: WeftError) => void damaged.set(shard, problem)
        : undefined;
    const images = hasRecords ? await SourceImages.open(folder, shards, store, onDamaged) : undefined;
    return new ShardReader(options, images, damaged);
  }

  private constructor(
    options: ReaderOptions,
    images: SourceImages | undefined,
    damaged: ReadonlyMap<number, WeftError>,
  ) {
    this.#damaged = damaged;
    this.#options = options;
    this.#store = options.store ?? diskShards;
    this.#images = images;
  }

  /**
   * The documents of one shard.
   *
   * @param number its index, copied into every `ImageLocation`
   * @throws WeftError `corrupt_data` naming the shard when it cannot be read at all
   */
  documents(number: number, onLeftOut: OnLeftOut): ShardDocuments {
    const { folder, kind, shards } = this.#options;
    const shard = shards[number] ?? '';
    if (kind === 'text') return this.#texts(joinPath(folder, shard));
    if (kind === 'captioned') return this.#samples(shard, number, onLeftOut);
    if (this.#images === undefined) return this.#samples(shard, number, onLeftOut);
    if (kind === 'conversations' && isArchive(shard)) return this.#packedConversations(shard, this.#images);
    const problem = this.#damaged.get(number);
    if (holdsImages(shard)) return problem === undefined ? [] : [{ key: REST_OF_SHARD, problem }];
    return this.#records(shard, this.#images);
  }

  /** The images beside the documents that were named since the last call. */
  takeUsed(): readonly string[] {
    return this.#images?.takeUsed() ?? [];
  }

  /** Counts images as named, as another reader found. */
  use(names: Iterable<string>): void {
    for (const name of names) this.#images?.use(name);
  }

  /** The images that no document has named. */
  *unused(): Generator<LeftOut> {
    const reason = this.#options.kind === 'conversations' ? 'no conversation names it' : 'no document names it';
    for (const each of this.#images?.unused() ?? []) yield { ...each, reason };
  }

  async *#texts(path: string): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
    const { textField, badSamples } = this.#options.settings;
    for await (const document of textDocuments(path, textField, this.#store)) {
      // A whole file is packed while it is read, so where it may be left out it is read once before.
      const isWholeFile = !('problem' in document) && document.key === '';
      yield isWholeFile && badSamples === 'skip' ? await readable(document, path, this.#store) : document;
    }
  }

  async *#samples(
    shard: string,
    number: number,
    onLeftOut: OnLeftOut,
  ): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
    const { folder, settings } = this.#options;
    const kind = this.#options.kind === 'captioned' ? 'captioned' : 'interleaved';
    const read = kind === 'captioned' ? readCaptioned : readInterleaved;
    const file = await ShardFile.open(joinPath(folder, shard), this.#store);
    const seen = new Map<string, string>();
    try {
      for await (const sample of webDatasetSamples(file, settings, onLeftOut)) {
        const { key, members } = sample;
        const result = await caught(key, () => read(file, sample, settings));
        if ('problem' in result) {
          yield result;
          continue;
        }
        const fingerprint = fingerprintOf(members, result.content);
        if (seen.get(key) === fingerprint) {
          onLeftOut({ name: key, reason: 'the same sample comes before it in its shard' });
          continue;
        }
        seen.set(key, fingerprint);
        for (const member of members.values())
          if (!result.read.has(member)) onLeftOut({ name: member.name, reason: NOT_READ[kind] });
        yield { key, parts: documentParts(result.content, number) };
      }
    } finally {
      await file.close();
    }
  }

  async *#records(shard: string, images: SourceImages): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
    const { folder, kind } = this.#options;
    for await (const { key, where, value, problem } of sourceRecords(joinPath(folder, shard), undefined, this.#store)) {
      if (problem !== undefined) yield { key, problem };
      else if (kind === 'conversations')
        yield await caught(key, () => this.#conversation(value, { key, where }, (name) => images.find(name, shard)));
      else yield await caught(key, () => this.#interleaved(value, { key, where }, (name) => images.find(name, shard)));
    }
  }

  /** The conversations of an archive: its members of JSON that hold one. */
  async *#packedConversations(
    shard: string,
    images: SourceImages,
  ): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
    const { folder, settings } = this.#options;
    const file = await ShardFile.open(joinPath(folder, shard), this.#store);
    try {
      // What is left out of samples is what no conversation names.
      for await (const { key, members } of webDatasetSamples(file, settings, () => undefined)) {
        const json = members.get('json');
        if (json === undefined) continue;
        const value = await caught(key, () => readJson(file, json));
        if (isJsonObject(value) && 'problem' in value && value.problem instanceof WeftError) {
          yield { key, problem: value.problem };
          continue;
        }
        if (!isJsonObject(value) || !('conversations' in value || 'messages' in value)) continue;
        images.use(json.name, shard);
        const find = async (name: string) =>
          (await images.find(`${key}.${name}`, shard)) ?? (await images.find(name, shard));
        const where = `the sample ${key} in ${file.path}`;
        yield await caught(key, () => this.#conversation(value, { key, where }, find));
      }
    } finally {
      await file.close();
    }
  }

  async #conversation(value: unknown, { key, where }: Place, find: FindImage): Promise<SourceDocument> {
    const { folder, chatTemplate } = this.#options;
    const parts: DocumentPart[] = [];
    for (const part of chatParts(chatTemplate, readConversation(value, where)))
      parts.push(part.kind === 'image' ? await found([part.image], where, folder, find) : part);
    // The last answer ends as every document does.
    return { key, parts: parts.slice(0, -1), isConversation: true };
  }

  async #interleaved(value: unknown, { key, where }: Place, find: FindImage): Promise<SourceDocument> {
    const read = interleavedParts(value);
    if (typeof read === 'string') throw new WeftError('corrupt_data', `${where} ${read}`, { hint: INTERLEAVED_HINT });
    const parts: DocumentPart[] = [];
    for (const part of read)
      if ('text' in part) parts.push(...textParts(part.text));
      else parts.push(await found(part.image, where, this.#options.folder, find));
    return { key, parts };
  }
}

interface Place {
  readonly key: string;
  /** For messages. */
  readonly where: string;
}

type FindImage = (name: string) => Promise<(ImageLocation & { readonly name: string }) | undefined>;

/** The first of the names under which there is an image. @throws WeftError `corrupt_data` */
async function found(names: readonly string[], where: string, folder: string, find: FindImage): Promise<DocumentPart> {
  for (const name of names) {
    const image = await find(name);
    if (image !== undefined) return { kind: 'image', image, name: image.name };
  }
  throw new WeftError(
    'corrupt_data',
    `${where} names the image ${names.map((name) => JSON.stringify(name)).join(' or ')}, which is neither a file in ${folder} nor in an archive there`,
    { hint: `put ${basename(names[0] ?? '')} there, or a .tar that holds it` },
  );
}

function documentParts(content: readonly SamplePart[], shard: number): DocumentPart[] {
  return content.flatMap((part): DocumentPart[] => {
    if ('text' in part) return [...textParts(part.text)];
    const { name, offset, bytes } = part.image;
    return [{ kind: 'image', image: { shard, offset, bytes, view: 0 }, name }];
  });
}

/** Equal for samples with members of the same names and sizes and the same text. */
function fingerprintOf(members: ReadonlyMap<string, TarEntry>, content: SampleContent['content']): string {
  const hash = createHash('sha1');
  for (const [extension, { bytes }] of members) hash.update(`${extension} ${bytes}\n`);
  for (const part of content) if ('text' in part) hash.update(part.text);
  return hash.digest('base64');
}

/** A document that is a whole file, or why it cannot be read. */
async function readable(
  document: SourceDocument,
  path: string,
  store: ShardStore,
): Promise<SourceDocument | BadSample> {
  return await caught(document.key, async () => {
    const read = textDocuments(path, undefined, store) as AsyncIterable<SourceDocument>;
    for await (const { parts } of read) for await (const _ of parts);
    return document;
  });
}

/** What is wrong with data belongs to its sample; all else is thrown. */
async function caught<T>(key: string, read: () => Promise<T>): Promise<T | BadSample> {
  try {
    return await read();
  } catch (thrown) {
    if (!WeftError.is(thrown, 'corrupt_data')) throw thrown;
    return { key, problem: thrown };
  }
}

/** Why a member of a sample is not read. */
const NOT_READ: Readonly<Record<'captioned' | 'interleaved', string>> = {
  captioned: 'it is neither the image nor the caption of its sample',
  interleaved: 'the .json member of its sample does not name it',
};
