import type {
  Host,
  InstallOptions,
  NativeLibrary,
  NativeLibraryAbsence,
  SetupOptions,
  SetupProgress,
  WheelBuild,
} from './types.mjs';

export type * from './types.mjs';

/** Set-up that cannot be done: one clear sentence and its cure. */
export declare class NativeLibraryError extends Error {
  readonly code: 'native_library';
  /** An imperative sentence without a final full stop. */
  readonly cure: string;
  constructor(message: string, cure: string, options?: ErrorOptions);
}

/** The version of TensorFlow that set-up fetches. */
export declare const TENSORFLOW_VERSION: string;

/** Where Weft caches what it fetched: `WEFT_CACHE_DIR`, else `~/.cache/weft`. */
export declare function cacheDirectory(environment?: NodeJS.ProcessEnv): string;

/**
 * Finds the TensorFlow library without downloading anything: the folder `WEFT_TENSORFLOW_DIR`, Weft's cache, then an
 * importable Python package `tensorflow`. Synchronous; takes a millisecond where one of the first two has the answer.
 *
 * @throws NativeLibraryError when `WEFT_TENSORFLOW_DIR` names a folder that lacks the library.
 */
export declare function findNativeLibrary(options?: SetupOptions): NativeLibrary | NativeLibraryAbsence;

/**
 * Finds the TensorFlow library, or fetches it into the cache: the pinned wheel with pip, else with Node from the
 * package index that pip is configured for. Safe to call from several processes at once and to repeat.
 *
 * @throws NativeLibraryError when there is no way to a library; the sentence says what was tried.
 */
export declare function installNativeLibrary(options?: InstallOptions): Promise<NativeLibrary>;

/** What the host is, with the word of `nvidia-smi` on the GPU. */
export declare function describeHost(environment: NodeJS.ProcessEnv): Host;

/** Whether a version such as `2.36` is at least a bound such as `[2, 27]`. */
export declare function atLeast(version: string, bound: readonly number[]): boolean;

/**
 * Runs a short Python script that prints JSON, in the root folder so that nothing beside the user counts as a package.
 *
 * @returns what it printed; undefined where there is no Python, or it printed nothing
 */
export declare function askPython(script: string, environment: NodeJS.ProcessEnv): unknown;

/**
 * Downloads the pinned wheels of one build with pip, else with Node; checks their hashes, and unpacks what is needed.
 * Safe to call from several processes at once.
 *
 * @throws NativeLibraryError with what was tried; nothing is left behind.
 */
export declare function fetchWheels(
  build: WheelBuild,
  environment: NodeJS.ProcessEnv,
  onProgress: (progress: SetupProgress) => void,
): Promise<void>;
