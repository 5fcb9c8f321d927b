// Weft's cache of TensorFlow libraries:
//
//   <cache>/tensorflow/2.21.0-cpu/library.json            written before the folder gets its name
//   <cache>/tensorflow/2.21.0-cpu/tensorflow/libtensorflow_cc.so.2 …
//   <cache>/tensorflow/2.21.0-gpu/{tensorflow,nvidia}/…
//   <cache>/tensorflow/python.json                        where a Python package keeps them, so that Python need not be asked again

import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeLibraryError } from './error.mjs';
import { LIBRARIES, TENSORFLOW_VERSION } from './tensorflow-wheels.mjs';

/** @import { Variant } from './types.mjs' */

/**
 * What lies beside an unpacked library, or stands for one that a Python package keeps.
 *
 * @typedef {object} LibraryRecord
 * @property {string} version
 * @property {Variant} variant
 * @property {string} directory absolute for a Python package, else relative to the record's own folder
 * @property {number[]} bytes of each of LIBRARIES
 * @property {string} origin one sentence: where it came from
 */

const LOCK_REFRESH_MS = 2_000;
const LOCK_STALE_MS = 20_000;

/**
 * Where Weft caches what it fetched: `WEFT_CACHE_DIR`, else `~/.cache/weft`.
 *
 * @param {NodeJS.ProcessEnv} [environment]
 */
export function cacheDirectory(environment = process.env) {
  const named = environment.WEFT_CACHE_DIR;
  return named ? resolve(named) : join(homedir(), '.cache', 'weft');
}

/** @param {NodeJS.ProcessEnv} environment */
const librariesDirectory = (environment) => join(cacheDirectory(environment), 'tensorflow');

/**
 * @param {NodeJS.ProcessEnv} environment
 * @param {'cpu' | 'gpu'} variant
 */
export const variantDirectory = (environment, variant) =>
  join(librariesDirectory(environment), `${TENSORFLOW_VERSION}-${variant}`);

/**
 * Reads the record of an unpacked library and checks that its files are there in their full length.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @param {'cpu' | 'gpu' | 'python'} which
 * @returns {LibraryRecord | undefined} with an absolute directory
 */
export function readRecord(environment, which) {
  const folder = which === 'python' ? librariesDirectory(environment) : variantDirectory(environment, which);
  try {
    /** @type {LibraryRecord} */
    const record = JSON.parse(readFileSync(join(folder, which === 'python' ? 'python.json' : 'library.json'), 'utf8'));
    const directory = resolve(folder, record.directory);
    const present = libraryBytes(directory);
    const whole = present?.every((bytes, index) => bytes === record.bytes[index]);
    return whole ? { ...record, directory } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {string} directory
 * @returns {number[] | undefined} the size of each of LIBRARIES, undefined when one is missing
 */
export function libraryBytes(directory) {
  const sizes = LIBRARIES.map((name) => statSync(join(directory, name), { throwIfNoEntry: false })?.size);
  return sizes.every((size) => size !== undefined && size > 0) ? sizes.map(Number) : undefined;
}

/**
 * Remembers where a Python package keeps the libraries.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @param {LibraryRecord} record
 */
export function rememberPython(environment, record) {
  const folder = librariesDirectory(environment);
  mkdirSync(folder, { recursive: true });
  const temporary = join(folder, `.python-${process.pid}.json`);
  writeFileSync(temporary, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(temporary, join(folder, 'python.json'));
}

/**
 * Writes the record beside unpacked libraries.
 *
 * @param {string} folder holds `tensorflow/`
 * @param {Omit<LibraryRecord, 'bytes' | 'directory'>} record
 */
export function writeRecord(folder, record) {
  const bytes = libraryBytes(join(folder, 'tensorflow'));
  if (bytes === undefined) throw new Error(`the wheel holds no ${LIBRARIES.join(' and ')}`);
  const whole = { ...record, directory: 'tensorflow', bytes };
  writeFileSync(join(folder, 'library.json'), `${JSON.stringify(whole, null, 2)}\n`);
}

/**
 * Gives a filled temporary folder its final name. Where another process was faster, its folder stays.
 *
 * @param {string} temporary
 * @param {string} destination
 */
export function publish(temporary, destination) {
  chmodSync(temporary, 0o755);
  // What bears the name now was found wanting before, or belongs to a process that was faster.
  const aside = `${temporary}-replaced`;
  try {
    renameSync(destination, aside);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  try {
    renameSync(temporary, destination);
  } catch (error) {
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
  }
  rmSync(aside, { recursive: true, force: true });
}

/**
 * Runs `work` while no other process on this or another host does so in the same folder. A holder that died is passed
 * over: at once on this host, after twenty seconds elsewhere.
 *
 * @template T
 * @param {string} folder is made when missing
 * @param {(text: string) => void} onWait called once, when there is a wait
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(folder, onWait, work) {
  makeFolder(folder);
  const path = join(folder, 'set-up.lock');
  for (let waited = false; !tryLock(path); waited = true) {
    if (!waited) onWait(`waiting for another set-up that works in ${folder}`);
    await sleep(500);
  }
  const refresh = setInterval(() => writeFileSync(path, holder()), LOCK_REFRESH_MS);
  refresh.unref();
  try {
    return await work();
  } finally {
    clearInterval(refresh);
    rmSync(path, { force: true });
  }
}

const holder = () => JSON.stringify({ host: hostname(), processId: process.pid });

/** @param {string} path */
function tryLock(path) {
  try {
    writeFileSync(path, holder(), { flag: 'wx' });
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
  if (!isAbandoned(path)) return false;
  rmSync(path, { force: true });
  return false;
}

/** @param {string} path */
function isAbandoned(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (Date.now() - stat.mtimeMs > LOCK_STALE_MS) return true;
  try {
    const { host, processId } = JSON.parse(readFileSync(path, 'utf8'));
    return host === hostname() && !isAlive(processId);
  } catch {
    return false;
  }
}

/** @param {number} processId */
function isAlive(processId) {
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** @param {string} folder */
function makeFolder(folder) {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new NativeLibraryError(
      `the cache ${folder} cannot be made`,
      'set WEFT_CACHE_DIR to a folder that can be written',
      { cause: error },
    );
  }
}

/**
 * @param {unknown} error
 * @returns {string | undefined} `ENOENT` and the like
 */
export function codeOf(error) {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
