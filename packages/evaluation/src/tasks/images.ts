import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, sep } from 'node:path';
import { WeftError } from '@weft/common';
import { LARGEST_MEMBER_BYTES, ShardFile } from '@weft/data';
import { fileBytes, isMissing } from '@weft/files';
import type { ImageFile } from './example.js';

const IMAGE = /\.(png|jpe?g|webp|gif|tiff?|avif|bmp)$/i;

/** How an entry of a file of examples names its image. */
export interface ImageName {
  /** The name of a file, where the entry has one. */
  readonly file?: string | undefined;
  /** The id of the image: the name of its file without extension, or the number at the end of that. */
  readonly id: string;
}

/** The images of a folder, with the folders in it, or of a tar archive. */
export class ImageCollection {
  readonly #path: string;
  readonly #archive: ShardFile | undefined;
  readonly #byFile = new Map<string, ImageFile>();
  readonly #byStem = new Map<string, ImageFile>();
  /** By the number at the end of the stem; undefined where two images have the same. */
  readonly #byNumber = new Map<string, ImageFile | undefined>();

  /** @throws WeftError `not_found` for a path that is not there, `invalid_argument` where it holds no image. */
  static async open(path: string): Promise<ImageCollection> {
    const found = await stat(path).catch((thrown: unknown) => {
      if (!isMissing(thrown)) throw WeftError.from(thrown);
      throw new WeftError('not_found', `there is no folder or archive of images ${path}`, { cause: thrown });
    });
    const archive = found.isDirectory() ? undefined : await ShardFile.open(path);
    const collection = new ImageCollection(path, archive);
    try {
      await (archive === undefined ? collection.#addFolder() : collection.#addArchive(archive));
      if (collection.#byFile.size > 0) return collection;
      throw new WeftError('invalid_argument', `${path} holds no image`, {
        hint: 'name a folder or tar archive of png, jpg or webp files',
      });
    } catch (thrown) {
      await archive?.close();
      throw thrown;
    }
  }

  private constructor(path: string, archive: ShardFile | undefined) {
    this.#path = path;
    this.#archive = archive;
  }

  /**
   * The image of an entry: that of its file name, else the one whose name is its id or ends in the number it is.
   *
   * @param where names the entry
   * @throws WeftError `not_found` when there is none, `invalid_argument` when the number fits several
   */
  find({ file, id }: ImageName, where: string): ImageFile {
    const named = file === undefined ? undefined : (this.#byFile.get(file) ?? this.#byFile.get(basename(file)));
    const number = /^\d+$/.test(id) ? numberOf(id) : undefined;
    const image =
      named ??
      this.#byFile.get(id) ??
      this.#byStem.get(id) ??
      (number === undefined ? undefined : this.#byNumber.get(number));
    if (image !== undefined) return image;
    if (number !== undefined && this.#byNumber.has(number))
      throw new WeftError('invalid_argument', `${where}: several images of ${this.#path} end in the number ${id}`, {
        hint: 'name a folder that holds only the images of this file',
      });
    throw new WeftError('not_found', `${where}: the image ${file ?? id} is not in ${this.#path}`, {
      hint: 'name the folder or tar archive that holds it',
    });
  }

  async close(): Promise<void> {
    await this.#archive?.close();
  }

  async #addFolder(): Promise<void> {
    const entries = await readdir(this.#path, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      if (!entry.isDirectory() && IMAGE.test(entry.name)) this.#add(fileImage(join(entry.parentPath, entry.name)));
    }
  }

  async #addArchive(archive: ShardFile): Promise<void> {
    for await (const { name, offset, bytes } of archive.entries()) {
      if (!IMAGE.test(name)) continue;
      this.#add({ name: `${archive.path} ${name}`, read: () => archive.read(offset, bytes) }, name);
    }
  }

  #add(
    image: ImageFile,
    path = image.name
      .slice(this.#path.length)
      .split(sep)
      .filter((part) => part !== '')
      .join('/'),
  ): void {
    const file = basename(path);
    const stem = file.replace(/\.[^.]*$/, '');
    this.#byFile.set(path, image);
    if (!this.#byFile.has(file)) this.#byFile.set(file, image);
    if (!this.#byStem.has(stem)) this.#byStem.set(stem, image);
    const [digits] = /\d+$/.exec(stem) ?? [];
    if (digits === undefined) return;
    const number = numberOf(digits);
    this.#byNumber.set(number, this.#byNumber.has(number) ? undefined : image);
  }
}

function fileImage(path: string): ImageFile {
  const read = async () => {
    const size = (await fileBytes(path)) ?? 0;
    if (size > LARGEST_MEMBER_BYTES)
      throw new WeftError(
        'corrupt_data',
        `the image ${path} has ${size} bytes, more than the ${LARGEST_MEMBER_BYTES} allowed`,
      );
    return readFile(path).catch((thrown: unknown) => {
      throw new WeftError('not_found', `the image ${path} cannot be read: ${WeftError.from(thrown).message}`, {
        cause: thrown,
      });
    });
  };
  return { name: path, read };
}

/** Without zeros in front. */
const numberOf = (digits: string) => digits.replace(/^0+(?=\d)/, '');
