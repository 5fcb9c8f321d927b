/** Which build of TensorFlow a library is: with CUDA kernels or without; `unknown` for a folder a person named. */
export type Variant = 'cpu' | 'gpu' | 'unknown';

/** A folder that holds `libtensorflow_cc.so.2` and `libtensorflow_framework.so.2`, and why it was chosen. */
export interface TensorFlowLibrary {
  readonly found: true;
  /** Absolute path of the folder. */
  readonly directory: string;
  /** Of TensorFlow, for instance `2.21.0`; null where the folder does not tell. */
  readonly version: string | null;
  readonly variant: Variant;
  readonly source: 'environment' | 'cache' | 'python';
  /** One sentence a person reads. */
  readonly reason: string;
}

/** No library: what was looked at, and what to do about it. */
export interface MissingTensorFlow {
  readonly found: false;
  readonly reason: string;
  /** An imperative sentence without a final full stop. */
  readonly hint: string;
}

export type SetupProgress =
  | {
      readonly stage: 'download' | 'unpack';
      readonly name: string;
      readonly bytes: number;
      readonly totalBytes: number;
    }
  | { readonly stage: 'note'; readonly text: string };

/** Where set-up looks and works; every field defaults to this process's own. */
export interface SetupOptions {
  /** Environment variables: `WEFT_TENSORFLOW_DIR`, `WEFT_CACHE_DIR`, `PIP_*`, `PATH`. */
  readonly environment?: NodeJS.ProcessEnv;
  /** What the host is; a test may say otherwise. */
  readonly host?: Host;
}

export interface InstallOptions extends SetupOptions {
  readonly onProgress?: (progress: SetupProgress) => void;
}

export interface Host {
  /** `process.platform`. */
  readonly platform: string;
  /** `process.arch`. */
  readonly architecture: string;
  /** `2.36` and the like; null where the C library is another one. */
  readonly glibc: string | null;
  /** Whether an NVIDIA GPU answers. */
  readonly gpu: boolean;
}

/** One pinned file of a Python package index. */
export interface Wheel {
  readonly project: string;
  readonly version: string;
  readonly file: string;
  readonly bytes: number;
  /** Of what is unpacked from it, about. */
  readonly unpackedBytes: number;
  readonly sha256: string;
}

/** What is fetched from wheels, and where it goes. */
export interface WheelBuild {
  /** "TensorFlow 2.21.0 (cpu)". */
  readonly title: string;
  readonly wheels: readonly Wheel[];
  /** Which files of the wheels are unpacked, by their names in the archive. */
  readonly isNeeded: (name: string) => boolean;
  /** The folder that the unpacked files get; work goes on beside it. */
  readonly destination: string;
  /** Whether it is there already, and whole. */
  readonly isPresent: () => boolean;
  /**
   * Writes what is to lie beside the unpacked files, which tells later that they are whole.
   * @param origin where they came from
   * @throws when something is missing among them
   */
  readonly writeRecord: (folder: string, origin: string) => void;
  /** What a person can do instead: "set WEFT_TENSORFLOW_DIR to a folder that holds …". */
  readonly alternative: string;
}
