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
  isUsed: boolean;
}

/** Larger descriptions beside images hold something else. */
const LARGEST_DESCRIPTION_BYTES = 1024 * 1024;

/**
 * The images that lie beside the documents of a dataset: files below its folder, and members of tar archives there. A
 * document names one by its path from its own folder, from the folder of the dataset, from `images` in there, or in an
 * archive; or by the URL it was fetched from. Memory grows with the number of images, some 200 bytes each.
 */
export class SourceImages {
  readonly #folder: string;
  readonly #shards: readonly string[];
  readonly #store: ShardStore;
  readonly #byName: ReadonlyMap<string, NamedImage>;
  #byUrl: Promise<ReadonlyMap<string, NamedImage>> | undefined;
  #newlyUsed: string[] = [];

  private constructor(
    folder: string,
    shards: readonly string[],
    store: ShardStore,
    byName: ReadonlyMap<string, NamedImage>,
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
   * @throws WeftError `corrupt_data` for a damaged archive, and for archives that hold images of one name
   */
  static async open(
    folder: string,
    shards: readonly string[],
    store: ShardStore = diskShards,
    onDamaged?: (shard: number, problem: WeftError) => void,
  ): Promise<SourceImages> {
    const byName = new Map<string, NamedImage>();
    const add = (name: string, location: Omit<ImageLocation, 'view'>) => {
      const other = byName.get(name);
      if (other !== undefined)
        throw new WeftError(
          'corrupt_data',
          `${joinPath(folder, shards[location.shard] ?? '')} and ${joinPath(folder, shards[other.shard] ?? '')} both hold the image ${name}`,
          { hint: 'give every image of a source its own name' },
        );
      byName.set(name, { ...location, view: 0, name, isUsed: false });
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

  /** @param shard of the document, a path below the folder of the dataset */
  async find(name: string, shard: string): Promise<NamedImage | undefined> {
    const found = isUrl(name) ? await this.#ofUrl(name) : this.#ofPath(name, shard);
    this.#use(found);
    return found;
  }

  /** Counts a member as one that a document names. */
  use(name: string): void {
    this.#use(this.#byName.get(name));
  }

  /** Those that were named for the first time since the last call. */
  takeUsed(): readonly string[] {
    const names = this.#newlyUsed;
    this.#newlyUsed = [];
    return names;
  }

  #use(image: NamedImage | undefined): void {
    if (image === undefined || image.isUsed) return;
    image.isUsed = true;
    this.#newlyUsed.push(image.name);
  }

  /** Those that no document has named: their names, and their shards. */
  *unused(): Generator<{ readonly name: string; readonly shard: string }> {
    for (const { name, shard, isUsed } of this.#byName.values())
      if (!isUsed) yield { name, shard: this.#shards[shard] ?? '' };
  }

  #ofPath(name: string, shard: string): NamedImage | undefined {
    const plain = posix.normalize(name).replace(/^(\.\/)+/, '');
    return [posix.join(posix.dirname(shard), plain), plain, posix.join('images', plain)]
      .map((path) => this.#byName.get(path))
      .find((image) => image !== undefined);
  }

  /** As `wget -x` keeps what it fetches, by the `url` of the `.json` beside it (img2dataset), or by a file name of its own. */
  async #ofUrl(url: string): Promise<NamedImage | undefined> {
    const path = url.replace(/^[a-z0-9+.-]+:\/\//i, '').replace(/[?#].*$/s, '');
    const here = this.#byName.get(path) ?? this.#byName.get(`images/${path}`);
    if (here !== undefined) return here;
    this.#byUrl ??= this.#readUrls();
    const byUrl = await this.#byUrl;
    return byUrl.get(url) ?? byUrl.get(posix.basename(path));
  }

  /** By URL, and by the base names that are there once. */
  async #readUrls(): Promise<ReadonlyMap<string, NamedImage>> {
    const found = new Map<string, NamedImage>();
    const twice = new Set<string>();
    const keyOf = (name: string) => name.replace(/\.[^./]*$/, '');
    const byKey = new Map<string, NamedImage>();
    for (const image of this.#byName.values()) {
      const base = posix.basename(image.name);
      if (found.has(base)) twice.add(base);
      found.set(base, image);
      if (!/\.(json|txt)$/i.test(image.name)) byKey.set(keyOf(image.name), image);
    }
    for (const base of twice) found.delete(base);
    for (const description of this.#byName.values()) {
      if (!/\.json$/i.test(description.name)) continue;
      const image = byKey.get(keyOf(description.name));
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

const isUrl = (name: string) => /^[a-z0-9+.-]+:\/\//i.test(name);
