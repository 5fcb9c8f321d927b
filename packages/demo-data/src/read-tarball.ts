import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WeftError } from '@weft/common';
import { LARGEST_MEMBER_BYTES, StreamCursor, walkTar } from '@weft/data';

/** A file of an npm tarball. */
export interface TarballFile {
  /** Without the `package/` that npm puts before every name. */
  readonly name: string;
  readonly content: Buffer;
}

/**
 * The wanted files of an npm tarball, in archive order. Unpacks a stream: other files are never in memory.
 *
 * @throws WeftError `corrupt_data` naming tarball and member
 */
export async function* readTarball(
  path: string,
  isWanted: (name: string) => boolean,
): AsyncGenerator<TarballFile, void, undefined> {
  // The loop below throws the errors of the pipeline too.
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
      hint: 'remove it, so that it is fetched again',
      cause: thrown,
    });
  } finally {
    unpacked.destroy();
  }
}
