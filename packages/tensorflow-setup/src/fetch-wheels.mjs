// Downloads the pinned wheels of one build, checks them, unpacks what is needed and publishes it in the cache.

import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { codeOf, librariesDirectory, publish, readRecord, variantDirectory, withLock } from './cache.mjs';
import { NativeLibraryError, sentenceOf } from './error.mjs';
import { readPipConfiguration } from './pip-configuration.mjs';
import { downloadWithPip, findPip } from './python.mjs';
import { downloadFromIndex } from './simple-index.mjs';
import { isNeeded, TENSORFLOW_VERSION, WHEELS } from './wheels.mjs';
import { readZipDirectory, unpackEntry } from './zip-reader.mjs';

/** @import { SetupProgress, Wheel } from './types.mjs' */

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
 * @param {'cpu' | 'gpu'} variant
 * @param {NodeJS.ProcessEnv} environment
 * @param {(progress: SetupProgress) => void} onProgress
 * @param {readonly Wheel[]} [wheels] a test may name its own
 * @returns {Promise<void>}
 * @throws {NativeLibraryError} with what was tried; nothing is left behind
 */
export async function fetchWheels(variant, environment, onProgress, wheels = WHEELS[variant]) {
  const cache = librariesDirectory(environment);
  const onWait = (/** @type {string} */ text) => onProgress({ stage: 'note', text });
  await withLock(cache, onWait, async () => {
    if (readRecord(environment, variant) !== undefined) return;
    requireSpace(cache, wheels);
    const temporary = mkdtempSync(join(cache, '.unpacking-'));
    const pip = findPip(environment);
    try {
      const transport = chooseTransport(pip, environment);
      onProgress({ stage: 'note', text: `fetching TensorFlow ${TENSORFLOW_VERSION} (${variant}) ${transport.name}` });
      for (const wheel of wheels) await fetchWheel(wheel, temporary, transport, onProgress);
      publish(temporary, variantDirectory(environment, variant), {
        version: TENSORFLOW_VERSION,
        variant,
        origin: `${wheels.map(({ file }) => file).join(', ')}, fetched ${transport.name}`,
      });
    } catch (error) {
      if (error instanceof NativeLibraryError) throw error;
      throw new NativeLibraryError(
        `TensorFlow ${TENSORFLOW_VERSION} (${variant}) could not be fetched: ${sentenceOf(error)}`,
        codeOf(error) === 'ENOSPC'
          ? 'free disk space, or set WEFT_CACHE_DIR to a folder with more'
          : `${pip === undefined ? 'install pip, or set PIP_INDEX_URL to' : 'configure pip for'} an index that has ${wheels[0]?.project}, or set WEFT_TENSORFLOW_DIR to a folder that holds libtensorflow_cc.so.2`,
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
 * @param {readonly string[] | undefined} pip
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Transport}
 */
function chooseTransport(pip, environment) {
  if (pip !== undefined) {
    return {
      name: `with ${pip.join(' ')}`,
      download: (wheel, folder, onBytes) => downloadWithPip(pip, wheel, folder, environment, onBytes),
    };
  }
  const configuration = readPipConfiguration(environment);
  if (configuration.indexes.length === 0 && configuration.links.length === 0) {
    throw new NativeLibraryError(
      'TensorFlow cannot be fetched: this host has no pip, and no package index is configured',
      'install pip, or set PIP_INDEX_URL to a Python package index, or set WEFT_TENSORFLOW_DIR to a folder that holds libtensorflow_cc.so.2',
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
 * @param {string} destination
 * @param {Transport} transport
 * @param {(progress: SetupProgress) => void} onProgress
 */
async function fetchWheel(wheel, destination, transport, onProgress) {
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
  await unpackWheel(path, destination, (bytes, totalBytes) =>
    onProgress({ stage: 'unpack', ...named, bytes, totalBytes }),
  );
  rmSync(folder, { recursive: true });
}

/**
 * @param {string} path
 * @param {string} destination
 * @param {(bytes: number, totalBytes: number) => void} onBytes
 */
async function unpackWheel(path, destination, onBytes) {
  const entries = (await readZipDirectory(path)).filter(({ name }) => isNeeded(name));
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
 * @param {readonly Wheel[]} wheels
 */
function requireSpace(folder, wheels) {
  const { bavail, bsize } = statfsSync(folder);
  const unpacked = wheels.reduce((sum, wheel) => sum + wheel.unpackedBytes, 0);
  // pip keeps a wheel twice for a moment.
  const needed = unpacked + 2 * Math.max(...wheels.map((wheel) => wheel.bytes));
  if (bavail * bsize >= needed) return;
  const gigabytes = (/** @type {number} */ bytes) => (bytes / 1e9).toFixed(1);
  throw new NativeLibraryError(
    `the TensorFlow library needs ${gigabytes(needed)} GB in ${folder}, where ${gigabytes(bavail * bsize)} GB are free`,
    'free disk space, or set WEFT_CACHE_DIR to a folder with more',
  );
}
