// Finds the TensorFlow library, or fetches it. Plain Node without dependencies: this runs before `npm ci` has.
//
// The official Python wheel carries the shared libraries; nothing of Python is needed to use them. Where they come from,
// in this order: WEFT_TENSORFLOW_DIR, the cache, an importable Python package, the pinned wheel by pip, the same wheel
// fetched by Node from the index that pip is configured for.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { cacheDirectory, libraryBytes, readRecord, rememberPython } from './cache.mjs';
import { NativeLibraryError, sentenceOf } from './error.mjs';
import { fetchWheels } from './fetch-wheels.mjs';
import { describeHost, hasDriverFiles } from './host.mjs';
import { findPythonPackage } from './python.mjs';
import { tensorflowBuild } from './tensorflow-build.mjs';
import { atLeast, chooseVariant, LIBRARIES, OLDEST_VERSION } from './tensorflow-wheels.mjs';

/** @import { InstallOptions, TensorFlowLibrary, MissingTensorFlow, SetupOptions, Variant } from './types.mjs' */

const INSTALL = 'run `node scripts/native-library.mjs`';

/**
 * Finds the TensorFlow library without downloading anything: the folder `WEFT_TENSORFLOW_DIR`, Weft's cache, then an
 * importable Python package `tensorflow`. Synchronous; takes a millisecond where one of the first two has the answer.
 *
 * @param {SetupOptions} [options]
 * @returns {TensorFlowLibrary | MissingTensorFlow}
 * @throws {NativeLibraryError} when `WEFT_TENSORFLOW_DIR` names a folder that lacks the library
 */
export function findTensorFlow({ environment = process.env, host } = {}) {
  const gpu = host?.gpu ?? hasDriverFiles();
  const known = fromEnvironment(environment) ?? fromCache(environment, gpu);
  if (known !== undefined) return known;
  const { library, reason } = fromPython(environment, gpu);
  return (
    library ?? {
      found: false,
      reason: `no TensorFlow library was found: nothing in ${cacheDirectory(environment)}, and ${reason}`,
      hint: `${INSTALL}, or set WEFT_TENSORFLOW_DIR to a folder that holds ${LIBRARIES[0]}`,
    }
  );
}

/**
 * Finds the TensorFlow library, or fetches it into the cache: the pinned wheel with pip, else with Node from the
 * package index that pip is configured for. Safe to call from several processes at once and to repeat.
 *
 * @param {InstallOptions} [options]
 * @returns {Promise<TensorFlowLibrary>}
 * @throws {NativeLibraryError} when there is no way to a library; the message lists what was tried
 */
export async function installTensorFlow({ environment = process.env, host, onProgress = () => {} } = {}) {
  const named = fromEnvironment(environment);
  if (named !== undefined) return named;
  const likelyGpu = host?.gpu ?? hasDriverFiles();
  const quick = fromCache(environment, likelyGpu);
  if (quick !== undefined && !(likelyGpu && quick.variant === 'cpu')) return quick;

  const known = host ?? describeHost(environment);
  const python = fromPython(environment, known.gpu);
  if (python.library !== undefined) {
    rememberPython(environment, {
      version: python.library.version ?? 'unknown',
      variant: python.library.variant,
      directory: python.library.directory,
      bytes: libraryBytes(python.library.directory) ?? [],
      origin: 'the Python package tensorflow',
    });
    return python.library;
  }
  const choice = chooseVariant(known);
  if (choice.variant === null) {
    throw new NativeLibraryError(choice.reason, `set WEFT_TENSORFLOW_DIR to a folder that holds ${LIBRARIES[0]}`);
  }
  const why = `${choice.reason} and ${python.reason}`;
  if (quick !== undefined && choice.variant === 'cpu') return quick;
  try {
    await fetchWheels(tensorflowBuild(choice.variant, environment), environment, onProgress);
    return fetched(environment, choice.variant, why);
  } catch (error) {
    if (choice.variant === 'cpu') throw error;
    onProgress({ stage: 'note', text: `${sentenceOf(error)}; the CPU build is set up instead` });
    await fetchWheels(tensorflowBuild('cpu', environment), environment, onProgress);
    return fetched(environment, 'cpu', `the GPU build could not be had and ${python.reason}`);
  }
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @returns {TensorFlowLibrary | undefined}
 */
function fromEnvironment(environment) {
  const named = environment.WEFT_TENSORFLOW_DIR;
  if (!named) return undefined;
  const directory = resolve(named);
  if (libraryBytes(directory) === undefined) {
    throw new NativeLibraryError(
      `WEFT_TENSORFLOW_DIR is ${named}, a folder that does not hold ${LIBRARIES.join(' and ')}`,
      'set it to the folder `tensorflow` of an installed TensorFlow 2.18 or newer, or unset it',
    );
  }
  const version = versionBeside(directory);
  return {
    found: true,
    directory,
    version,
    variant: 'unknown',
    source: 'environment',
    reason: 'WEFT_TENSORFLOW_DIR names it',
  };
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @param {boolean} gpu whether the host has one
 * @returns {TensorFlowLibrary | undefined}
 */
function fromCache(environment, gpu) {
  /** @type {readonly ('cpu' | 'gpu' | 'python')[]} */
  const order = gpu ? ['gpu', 'python', 'cpu'] : ['cpu', 'python', 'gpu'];
  for (const which of order) {
    const record = readRecord(environment, which);
    if (record === undefined || (which === 'python' && gpu && record.variant === 'cpu')) continue;
    const { directory, version, variant } = record;
    const hint = gpu && variant === 'cpu' ? `; it does not use this host's GPU: ${INSTALL}` : '';
    return which === 'python'
      ? { found: true, directory, version, variant, source: 'python', reason: 'a Python package holds it' }
      : { found: true, directory, version, variant, source: 'cache', reason: `it lies in Weft's cache${hint}` };
  }
  return undefined;
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @param {boolean} gpu whether the host has one
 * @returns {{ library?: TensorFlowLibrary; reason: string }}
 */
function fromPython(environment, gpu) {
  const found = findPythonPackage(environment);
  if (found === undefined) return { reason: 'no Python package tensorflow is installed' };
  const { directory, distribution, version } = found;
  const name = `the Python package ${distribution} ${version}`;
  if (libraryBytes(directory) === undefined) return { reason: `${name} does not hold ${LIBRARIES.join(' and ')}` };
  if (!atLeast(version, OLDEST_VERSION)) return { reason: `${name} is older than ${OLDEST_VERSION.join('.')}` };
  /** @type {Variant} */
  const variant = distribution === 'tensorflow-cpu' ? 'cpu' : 'gpu';
  if (gpu && variant === 'cpu') return { reason: `${name} does not use this host's GPU` };
  const reason = `${name} is installed`;
  return { reason, library: { found: true, directory, version, variant, source: 'python', reason } };
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @param {'cpu' | 'gpu'} variant
 * @param {string} why
 * @returns {TensorFlowLibrary}
 */
function fetched(environment, variant, why) {
  const record = readRecord(environment, variant);
  if (record === undefined) throw new NativeLibraryError(`the cache lost the ${variant} build`, INSTALL);
  const { directory, version } = record;
  return { found: true, directory, version, variant, source: 'cache', reason: `fetched, because ${why}` };
}

/**
 * The version in a wheel's metadata or in Weft's own record, beside the folder.
 *
 * @param {string} directory
 * @returns {string | null}
 */
function versionBeside(directory) {
  const parent = dirname(directory);
  try {
    /** @type {{ version: string }} */
    const { version } = JSON.parse(readFileSync(join(parent, 'library.json'), 'utf8'));
    return version;
  } catch {
    // No record of ours: look for a wheel's.
  }
  for (const name of readdirSync(parent)) {
    const version = /^tensorflow(?:_cpu)?-(\d[\w.]*)\.dist-info$/.exec(name)?.[1];
    if (version !== undefined) return version;
  }
  return null;
}
