import { WeftError } from '@weft/common';
import { decodeImage } from '../dataset/decode-image.js';
import type { ImageLocation } from '../shards/document.js';
import { ShardFile } from '../shards/shard-file.js';

/** Images decoded at a time; the decoder has that many threads. */
const AT_ONCE = 4;
/** The whole image is decoded; its pixels are not kept. */
const CHECKED_SIZE = 8;

/** Decodes every image of a shard once, so that training never meets one that cannot be. */
export class ImageChecker {
  readonly #shard: ShardFile;
  /** In order, so that the first damaged image of the shard is the one reported. */
  readonly #running: Promise<WeftError | undefined>[] = [];

  static async open(path: string): Promise<ImageChecker> {
    return new ImageChecker(await ShardFile.open(path));
  }

  private constructor(shard: ShardFile) {
    this.#shard = shard;
  }

  /**
   * @param name what the error calls the image.
   * @throws `corrupt_data` naming shard and member of an image given before.
   */
  async check(image: ImageLocation, name: string): Promise<void> {
    this.#running.push(this.#decode(image, name));
    if (this.#running.length >= AT_ONCE) await this.#awaitOldest();
  }

  /** Waits for the images still being decoded. */
  async finish(): Promise<void> {
    while (this.#running.length > 0) await this.#awaitOldest();
  }

  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#shard.close();
  }

  async #awaitOldest(): Promise<void> {
    const problem = await this.#running.shift();
    if (problem !== undefined) throw problem;
  }

  async #decode(image: ImageLocation, name: string): Promise<WeftError | undefined> {
    try {
      await decodeImage(await this.#shard.read(image.offset, image.bytes), CHECKED_SIZE);
      return undefined;
    } catch (thrown) {
      return imageProblem(name, this.#shard.path, thrown);
    }
  }
}

/** The one sentence about an image that cannot be decoded. */
export function imageProblem(member: string, shardPath: string, cause: unknown): WeftError {
  if (WeftError.is(cause)) return cause;
  const reason = WeftError.from(cause).message.replace(/\s+/g, ' ').trim();
  return new WeftError('corrupt_data', `the image ${member} in ${shardPath} cannot be decoded: ${reason}`, {
    cure: 'replace the shard with an intact copy, or rebuild it without this sample',
    cause,
  });
}
