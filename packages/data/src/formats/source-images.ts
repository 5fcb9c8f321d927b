import { posix } from 'node:path';
import { isJsonObject, WeftError } from '@weft/common';
import { diskShards, joinPath, type ShardStore } from '@weft/files';
import type { ImageLocation } from './document.js';
import { PACKED } from './json-records.js';
import { parseJson } from './parse-json.js';
import { ShardFile } from './shard-file.js';
import type { TarEntry } from './walk-tar.js';

/** Whether a shard beside files of documents holds their images: it is an archive of them, or one. */
export function holdsImages(shard: string): boolean {
  return !/\.(jsonl?|ndjson|jsonlines|parquet|arrow)$/i.test(shard.replace(PACKED, ''));
}

/** An image that documents name. */
interface NamedImage extends ImageLocation {
  /** Its path below the folder of the dataset, or in its archive. */
  readonly name: string;
  /** Tells it from all others of the dataset: the name where no other archive has it. */
  readonly id: string;
  isUsed: boolean;
}

/** Larger descriptions beside images hold something else. */
const LARGEST_DESCRIPTION_BYTES = 1024 * 1024;

/**
 * The images that lie beside the documents of a dataset: files below its folder, and members of tar archives there. A
 * document names one by its path from its own folder, from the folder of the dataset, from `images` in there, or in an
 * archive; or by the URL it was fetched from. Where several archives have the name, the one with the name of the document's file is
 * meant (`00000.tar` of `00000.jsonl`), or the one that the path begins with (`00000.tar/a.jpg`). Memory grows with the number
 * of images, some 200 bytes each.
 */
export class SourceImages {
  readonly #folder: string;
  readonly #shards: readonly string[];
  readonly #store: ShardStore;
  /** Several archives may have one name; most have not. */
  readonly #byName: ReadonlyMap<string, readonly NamedImage[]>;
  #byId: ReadonlyMap<string, NamedImage> | undefined;
  #byUrl: Promise<ReadonlyMap<string, NamedImage>> | undefined;
  #newlyUsed: string[] = [];

  private constructor(
    folder: string,
    shards: readonly string[],
    store: ShardStore,
    byName: ReadonlyMap<string, readonly NamedImage[]>,
  ) {
    this.#folder = folder;
    this.#store = store;
    this.#shards = shards;
    this.#byName = byName;
  }

  /**
   * @param folder of the dataset
   * @param shards paths below it, in the order of their numbers
   * @param onDamaged gets what is wrong with an archive, of which the members before are taken; default: it is thrown
   * @throws WeftError `corrupt_data` for a damaged archive
   */
  static async open(
    folder: string,
    shards: readonly string[],
    store: ShardStore = diskShards,
    onDamaged?: (shard: number, problem: WeftError) => void,
  ): Promise<SourceImages> {
    const byName = new Map<string, NamedImage[]>();
    const add = (name: string, location: Omit<ImageLocation, 'view'>) => {
      const others = byName.get(name) ?? [];
      const id = others.length === 0 ? name : `${shards[location.shard] ?? ''}/${name}`;
      byName.set(name, [...others, { ...location, view: 0, name, id, isUsed: false }]);
    };
    for (const [number, shard] of shards.entries()) {
      if (!holdsImages(shard)) continue;
      const path = joinPath(folder, shard);
      if (!isArchive(shard)) {
        add(shard, { shard: number, offset: 0, bytes: (await store.status(path))?.bytes ?? 0 });
        continue;
      }
      const archive = await ShardFile.open(path, store);
      const members: TarEntry[] = [];
      try {
        for await (const member of archive.entries()) members.push(member);
      } catch (thrown) {
        if (onDamaged === undefined || !WeftError.is(thrown, 'corrupt_data')) throw thrown;
        onDamaged(number, thrown);
      } finally {
        await archive.close();
      }
      for (const { name, offset, bytes } of members) add(name, { shard: number, offset, bytes });
    }
    return new SourceImages(folder, shards, store, byName);
  }

  /**
   * @param shard of the document, a path below the folder of the dataset
   * @throws WeftError `corrupt_data` where several archives have the name and nothing says which is meant
   */
  async find(name: string, shard: string): Promise<NamedImage | undefined> {
    const found = isUrl(name) ? await this.#ofUrl(name, shard) : this.#ofPath(name, shard);
    this.#use(found);
    return found;
  }

  /** Counts members as some that a document names. @param shard that has it; default: whichever has that id */
  use(name: string, shard?: string): void {
    if (shard !== undefined) {
      this.#use(this.#byName.get(name)?.find((image) => this.#shards[image.shard] === shard));
      return;
    }
    this.#byId ??= new Map([...this.#all()].map((image) => [image.id, image]));
    this.#use(this.#byId.get(name));
  }

  /** The ids of those that were named for the first time since the last call. */
  takeUsed(): readonly string[] {
    const names = this.#newlyUsed;
    this.#newlyUsed = [];
    return names;
  }

  #use(image: NamedImage | undefined): void {
    if (image === undefined || image.isUsed) return;
    image.isUsed = true;
    this.#newlyUsed.push(image.id);
  }

  /** Those that no document has named: their names, and their shards. */
  *unused(): Generator<{ readonly name: string; readonly shard: string }> {
    for (const { name, shard, isUsed } of this.#all()) if (!isUsed) yield { name, shard: this.#shards[shard] ?? '' };
  }

  #ofPath(name: string, shard: string): NamedImage | undefined {
    const plain = posix.normalize(name).replace(/^(\.\/)+/, '');
    for (const path of [posix.join(posix.dirname(shard), plain), plain, posix.join('images', plain)]) {
      const found = this.#oneOf(path, shard) ?? this.#inArchive(path);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  *#all(): Generator<NamedImage> {
    for (const images of this.#byName.values()) yield* images;
  }

  /** The image of a name; of several, the one in the document's own archive. */
  #oneOf(name: string, shard: string): NamedImage | undefined {
    const images = this.#byName.get(name) ?? [];
    const [first, second] = images;
    if (second === undefined) return first;
    const own = images.filter((image) => stemOf(this.#shards[image.shard] ?? '') === stemOf(shard));
    if (own.length === 1) return own[0];
    const pathOf = (image: NamedImage) => joinPath(this.#folder, this.#shards[image.shard] ?? '');
    throw new WeftError(
      'corrupt_data',
      `${pathOf(second)} and ${pathOf(images[0]!)} both hold the image ${name}, and the document does not say which it means`,
      { hint: `name it with its archive, ${this.#shards[second.shard]}/${name}, or give every image its own name` },
    );
  }

  /** `00000.tar/a.jpg`. */
  #inArchive(path: string): NamedImage | undefined {
    const [, archive = '', member = ''] = /^(.*?\.tar)\/(.+)$/i.exec(path) ?? [];
    return this.#byName.get(member)?.find((image) => this.#shards[image.shard] === archive);
  }

  /** As `wget -x` keeps what it fetches, by the `url` of the `.json` beside it (img2dataset), or by a file name of its own. */
  async #ofUrl(url: string, shard: string): Promise<NamedImage | undefined> {
    const path = url.replace(/^[a-z0-9+.-]+:\/\//i, '').replace(/[?#].*$/s, '');
    const here = this.#oneOf(path, shard) ?? this.#oneOf(`images/${path}`, shard);
    if (here !== undefined) return here;
    this.#byUrl ??= this.#readUrls();
    const byUrl = await this.#byUrl;
    return byUrl.get(url) ?? byUrl.get(posix.basename(path));
  }

  /** By URL, and by the base names that are there once. */
  async #readUrls(): Promise<ReadonlyMap<string, NamedImage>> {
    const found = new Map<string, NamedImage>();
    const twice = new Set<string>();
    // Of an archive, or of the folder: another archive may have other samples of the same keys.
    const keyOf = ({ name, shard }: NamedImage) =>
      `${isArchive(this.#shards[shard] ?? '') ? shard : ''} ${name.replace(/\.[^./]*$/, '')}`;
    const byKey = new Map<string, NamedImage>();
    for (const image of this.#all()) {
      const base = posix.basename(image.name);
      if (found.has(base)) twice.add(base);
      found.set(base, image);
      if (!/\.(json|txt)$/i.test(image.name)) byKey.set(keyOf(image), image);
    }
    for (const base of twice) found.delete(base);
    for (const description of this.#all()) {
      if (!/\.json$/i.test(description.name)) continue;
      const image = byKey.get(keyOf(description));
      const url = image === undefined ? undefined : await this.#urlIn(description);
      if (image === undefined || url === undefined) continue;
      found.set(url, image);
      this.#use(description);
    }
    return found;
  }

  async #urlIn({ shard, offset, bytes }: NamedImage): Promise<string | undefined> {
    if (bytes > LARGEST_DESCRIPTION_BYTES) return undefined;
    const archive = await ShardFile.open(joinPath(this.#folder, this.#shards[shard] ?? ''), this.#store);
    try {
      const content = parseJson((await archive.read(offset, bytes)).toString('utf8'));
      return isJsonObject(content) && typeof content.url === 'string' ? content.url : undefined;
    } catch {
      // It is no description of an image: it stays among what no document names.
      return undefined;
    } finally {
      await archive.close();
    }
  }
}

/** Whether a shard is a tar archive. */
export const isArchive = (shard: string) => shard.toLowerCase().endsWith('.tar');

/** `a/00000` of `a/00000.tar` and of `a/00000.jsonl.gz`. */
const stemOf = (shard: string) => shard.replace(/\.(gz|zst)$/i, '').replace(/\.[^./]*$/, '');

const isUrl = (name: string) => /^[a-z0-9+.-]+:\/\//i.test(name);
