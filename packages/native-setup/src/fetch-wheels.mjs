// Downloads the pinned wheels of one build, checks them, unpacks what is needed and publishes it in the cache.

import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { codeOf, publish, withLock } from './cache.mjs';
import { NativeLibraryError, sentenceOf } from './error.mjs';
import { readPipConfiguration } from './pip-configuration.mjs';
import { downloadWithPip, findPip } from './python.mjs';
import { downloadFromIndex } from './simple-index.mjs';
import { readZipDirectory, unpackEntry } from './zip-reader.mjs';

/** @import { SetupProgress, Wheel, WheelBuild } from './types.mjs' */

/**
 * How a wheel comes here, and the words for it.
 *
 * @typedef {object} Transport
 * @property {string} name completes "fetched …"
 * @property {(wheel: Wheel, folder: string, onBytes: (bytes: number) => void) => Promise<string>} download
 */

/**
 * Fetches one build into the cache, or waits for the process that is doing so already.
 *
 * @param {WheelBuild} build
 * @param {NodeJS.ProcessEnv} environment
 * @param {(progress: SetupProgress) => void} onProgress
 * @returns {Promise<void>}
 * @throws {NativeLibraryError} with what was tried; nothing is left behind
 */
export async function fetchWheels(build, environment, onProgress) {
  const cache = dirname(build.destination);
  const onWait = (/** @type {string} */ text) => onProgress({ stage: 'note', text });
  await withLock(cache, onWait, async () => {
    if (build.isPresent()) return;
    requireSpace(cache, build);
    const temporary = mkdtempSync(join(cache, '.unpacking-'));
    const pip = findPip(environment);
    try {
      const transport = chooseTransport(build, pip, environment);
      onProgress({ stage: 'note', text: `fetching ${build.title} ${transport.name}` });
      for (const wheel of build.wheels) await fetchWheel(wheel, build, temporary, transport, onProgress);
      build.writeRecord(temporary, `${build.wheels.map(({ file }) => file).join(', ')}, fetched ${transport.name}`);
      publish(temporary, build.destination);
    } catch (error) {
      if (error instanceof NativeLibraryError) throw error;
      throw new NativeLibraryError(
        `${build.title} could not be fetched: ${sentenceOf(error)}`,
        codeOf(error) === 'ENOSPC'
          ? 'free disk space, or set WEFT_CACHE_DIR to a folder with more'
          : `${pip === undefined ? 'install pip, or set PIP_INDEX_URL to' : 'configure pip for'} an index that has ${build.wheels[0]?.project}, or ${build.alternative}`,
        { cause: error },
      );
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  });
}

/**
 * pip where there is one, else Node itself.
 *
 * @param {WheelBuild} build
 * @param {readonly string[] | undefined} pip
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Transport}
 */
function chooseTransport(build, pip, environment) {
  if (pip !== undefined) {
    return {
      name: `with ${pip.join(' ')}`,
      download: (wheel, folder, onBytes) => downloadWithPip(pip, wheel, folder, environment, onBytes),
    };
  }
  const configuration = readPipConfiguration(environment);
  if (configuration.indexes.length === 0 && configuration.links.length === 0) {
    throw new NativeLibraryError(
      `${build.title} cannot be fetched: this host has no pip, and no package index is configured`,
      `install pip, or set PIP_INDEX_URL to a Python package index, or ${build.alternative}`,
    );
  }
  return {
    name: 'with Node from the index that pip is configured for',
    download: async (wheel, folder, onBytes) => {
      const path = join(folder, wheel.file);
      await downloadFromIndex(configuration, wheel, path, onBytes);
      return path;
    },
  };
}

/**
 * Downloads, checks and unpacks one wheel, and deletes it.
 *
 * @param {Wheel} wheel
 * @param {WheelBuild} build
 * @param {string} destination
 * @param {Transport} transport
 * @param {(progress: SetupProgress) => void} onProgress
 */
async function fetchWheel(wheel, build, destination, transport, onProgress) {
  const folder = mkdtempSync(join(destination, '.wheel-'));
  const named = { name: `${wheel.project} ${wheel.version}` };
  const path = await transport.download(wheel, folder, (bytes) =>
    onProgress({ stage: 'download', ...named, bytes: Math.min(bytes, wheel.bytes), totalBytes: wheel.bytes }),
  );
  if (!existsSync(path)) throw new Error(`${wheel.file} is not what the index gave`);
  const digest = await sha256(path);
  if (digest !== wheel.sha256) {
    throw new Error(`${wheel.file} has the SHA-256 ${digest}, not ${wheel.sha256}: it is not the published file`);
  }
  await unpackWheel(path, build, destination, (bytes, totalBytes) =>
    onProgress({ stage: 'unpack', ...named, bytes, totalBytes }),
  );
  rmSync(folder, { recursive: true });
}

/**
 * @param {string} path
 * @param {WheelBuild} build
 * @param {string} destination
 * @param {(bytes: number, totalBytes: number) => void} onBytes
 */
async function unpackWheel(path, build, destination, onBytes) {
  const entries = (await readZipDirectory(path)).filter(({ name }) => build.isNeeded(name));
  const totalBytes = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  let unpacked = 0;
  for (const entry of entries) {
    const target = join(destination, entry.name);
    mkdirSync(dirname(target), { recursive: true });
    await unpackEntry(path, entry, target, (bytes) => {
      unpacked += bytes;
      onBytes(unpacked, totalBytes);
    });
  }
}

/** @param {string} path */
async function sha256(path) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

/**
 * @param {string} folder
 * @param {WheelBuild} build
 */
function requireSpace(folder, { title, wheels }) {
  const { bavail, bsize } = statfsSync(folder);
  const unpacked = wheels.reduce((sum, wheel) => sum + wheel.unpackedBytes, 0);
  // pip keeps a wheel twice for a moment.
  const needed = unpacked + 2 * Math.max(...wheels.map((wheel) => wheel.bytes));
  if (bavail * bsize >= needed) return;
  const gigabytes = (/** @type {number} */ bytes) => (bytes / 1e9).toFixed(1);
  throw new NativeLibraryError(
    `${title} needs ${gigabytes(needed)} GB in ${folder}, where ${gigabytes(bavail * bsize)} GB are free`,
    'free disk space, or set WEFT_CACHE_DIR to a folder with more',
  );
}
