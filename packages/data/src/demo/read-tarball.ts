import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WeftError } from '@weft/common';
import { LARGEST_MEMBER_BYTES } from '../shards/shard-file.js';
import { StreamCursor } from '../tar/byte-cursor.js';
import { walkTar } from '../tar/walk-tar.js';

export interface TarballFile {
  /** Without the `package/` that npm puts before every name. */
  readonly name: string;
  readonly content: Buffer;
}

/**
 * The wanted files of an npm tarball, in its order, unpacked as a stream: the others are never held in memory.
 *
 * @throws `corrupt_data` naming tarball and member.
 */
export async function* readTarball(
  path: string,
  isWanted: (name: string) => boolean,
): AsyncGenerator<TarballFile, void, undefined> {
  // The callback takes errors that also come out of the loop below.
  const unpacked = pipeline(createReadStream(path), createGunzip(), () => undefined);
  const cursor = new StreamCursor(unpacked);
  try {
    for await (const entry of walkTar(cursor, path)) {
      const name = entry.name.replace(/^[^/]+\//, '');
      if (!isWanted(name)) continue;
      if (entry.bytes > LARGEST_MEMBER_BYTES)
        throw new WeftError('corrupt_data', `${name} in ${path} claims ${entry.bytes} bytes`);
      yield { name, content: Buffer.from(await cursor.read(entry.bytes)) };
    }
  } catch (thrown) {
    if (WeftError.is(thrown)) throw thrown;
    throw new WeftError('corrupt_data', `the tarball ${path} cannot be unpacked: ${WeftError.from(thrown).message}`, {
      cure: 'remove it, so that it is fetched again',
      cause: thrown,
    });
  } finally {
    unpacked.destroy();
  }
}
