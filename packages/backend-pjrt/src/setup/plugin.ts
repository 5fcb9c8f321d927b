// Finds the PJRT plugin of this host, or fetches it. Where it comes from, in this order: WEFT_PJRT_PLUGIN, an importable
// Python package of JAX, Weft's cache, the pinned wheel.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { WeftError } from '@weft/common';
import {
  askPython,
  cacheDirectory,
  describeHost,
  fetchWheels,
  type Host,
  hasDriverFiles,
  type SetupProgress,
} from '@weft/native-setup';
import { acceleratorOf, PINS, type Platform, type PluginPin } from './wheels.js';

/** A plugin, and why it was chosen. */
export interface FoundPlugin {
  readonly found: true;
  /** Absolute. */
  readonly path: string;
  /** Of the package that it comes from; null where nothing tells. */
  readonly version: string | null;
  readonly source: 'environment' | 'python' | 'cache';
  /** One sentence that a person reads. */
  readonly reason: string;
}

/** No plugin: what was looked at, and what to do about it. */
export interface MissingPlugin {
  readonly found: false;
  /** Whether this host has an accelerator that goes unused. */
  readonly hasAccelerator: boolean;
  readonly reason: string;
  readonly hint: string;
}

export interface PluginSearch {
  /** Environment variables: `WEFT_PJRT_PLUGIN`, `WEFT_CACHE_DIR`, `PIP_*`, `PATH`. Default: this process's own. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Which pinned plugin counts; default: the one for the accelerator that answers on this host. */
  readonly platform?: Platform;
  readonly onProgress?: (progress: SetupProgress) => void;
}

/**
 * Finds a plugin without downloading anything.
 * @throws WeftError `native_library` when `WEFT_PJRT_PLUGIN` names no file
 */
export function findPlugin({ environment = process.env, platform }: PluginSearch = {}): FoundPlugin | MissingPlugin {
  // What compiles for absent GPUs needs files beside the plugin, which only our own cache is sure to have.
  const known = platform === 'compiler' ? undefined : pluginOfPerson(environment, platform);
  if (known !== undefined) return known;
  const choice = platform === undefined ? chooseAccelerator(environment) : { platform, reason: 'it was asked for' };
  if (choice.platform === undefined) {
    const reason = `no PJRT plugin was found: ${choice.reason}, and no Python package jax_plugins is installed`;
    return {
      found: false,
      hasAccelerator: false,
      reason,
      hint: `set WEFT_PJRT_PLUGIN to a plugin's file to use one all the same`,
    };
  }
  const cached = fromCache(environment, PINS[choice.platform]);
  if (cached !== undefined) return cached;
  const wheel = PINS[choice.platform].wheels[0]?.file;
  const reason = `${choice.reason}, but there is no PJRT plugin: nothing in ${cacheDirectory(environment)}, and no Python package jax_plugins`;
  return {
    found: false,
    hasAccelerator: true,
    reason,
    hint: `run \`node scripts/pjrt-plugin.mjs\`, which fetches ${wheel}, or install JAX for it with pip`,
  };
}

/**
 * Finds a plugin, or fetches the pinned one with its libraries into the cache.
 * @throws WeftError `native_library` when there is no accelerator, or no way to its plugin
 */
export async function installPlugin(search: PluginSearch = {}): Promise<FoundPlugin> {
  const { environment = process.env, onProgress = () => {} } = search;
  const known = findPlugin(search);
  if (known.found) return known;
  const platform = search.platform ?? chooseAccelerator(environment).platform;
  if (platform === undefined) throw new WeftError('native_library', known.reason, { hint: known.hint });
  const pin = PINS[platform];
  try {
    await fetchWheels(buildOf(environment, pin), environment, onProgress);
  } catch (cause) {
    throw new WeftError('native_library', cause instanceof Error ? cause.message : String(cause), {
      cause,
      ...(cause instanceof Error && 'hint' in cause ? { hint: String(cause.hint) } : {}),
    });
  }
  const fetched = fromCache(environment, pin);
  if (fetched === undefined) throw new WeftError('native_library', `the cache lost ${pin.plugin}`);
  return fetched;
}

/**
 * The plugin of an accelerator, for settings that leave the choice of an engine open. Costs microseconds where no driver is.
 * @throws WeftError `native_library` when `WEFT_PJRT_PLUGIN` names no file
 */
export function acceleratorPlugin(): FoundPlugin | undefined {
  // What NVIDIA's and AMD's drivers make.
  if (!hasDriverFiles() && !existsSync('/dev/kfd')) return undefined;
  const found = findPlugin();
  return found.found ? found : undefined;
}

/** One that a person named or installed. */
function pluginOfPerson(environment: NodeJS.ProcessEnv, platform: Platform | undefined): FoundPlugin | undefined {
  return fromEnvironment(environment) ?? (platform === 'cpu' ? undefined : fromPython(environment));
}

function fromEnvironment({ WEFT_PJRT_PLUGIN: named }: NodeJS.ProcessEnv): FoundPlugin | undefined {
  if (!named) return undefined;
  const path = resolve(named);
  if (!isFile(path)) {
    throw new WeftError('native_library', `WEFT_PJRT_PLUGIN is ${named}, where there is no file`, {
      hint: 'set it to the shared object of a PJRT plugin, or unset it',
    });
  }
  return { found: true, path, version: null, source: 'environment', reason: 'WEFT_PJRT_PLUGIN names it' };
}

// Nothing is imported: jax_plugins is a namespace whose packages are folders with one shared object each.
const FIND_JAX_PLUGINS = `
import glob, importlib.metadata, importlib.util, json, os, pkgutil
spec = importlib.util.find_spec('jax_plugins')
folders = list(spec.submodule_search_locations or []) if spec else []
for module in sorted(pkgutil.iter_modules(folders), key=lambda m: m.name):
    folder = os.path.join(module.module_finder.path, module.name)
    for path in glob.glob(os.path.join(folder, '*plugin*.so')):
        name = 'jax-' + module.name.removeprefix('xla_') + '-pjrt'
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        print(json.dumps({'path': path, 'name': name, 'version': version}))
        raise SystemExit
`;

function fromPython(environment: NodeJS.ProcessEnv): FoundPlugin | undefined {
  const answer = askPython(FIND_JAX_PLUGINS, environment) as
    | { readonly path: string; readonly name: string; readonly version: string | null }
    | undefined;
  if (answer === undefined) return undefined;
  const { path, name, version } = answer;
  return { found: true, path, version, source: 'python', reason: `the Python package ${name} is installed` };
}

/** What lies beside a fetched plugin; written last, so that it tells that the files are whole. */
interface PluginRecord {
  readonly version: string;
  readonly bytes: number;
  readonly origin: string;
}

const RECORD = 'plugin.json';

function fromCache(environment: NodeJS.ProcessEnv, pin: PluginPin): FoundPlugin | undefined {
  const folder = cacheFolder(environment, pin);
  const path = join(folder, pin.plugin);
  try {
    const record: PluginRecord = JSON.parse(readFileSync(join(folder, RECORD), 'utf8'));
    if (statSync(path).size !== record.bytes) return undefined;
    return { found: true, path, version: record.version, source: 'cache', reason: "it lies in Weft's cache" };
  } catch {
    return undefined;
  }
}

function cacheFolder(environment: NodeJS.ProcessEnv, { platform, version }: PluginPin): string {
  return join(cacheDirectory(environment), 'pjrt', `${version}-${platform}`);
}

function buildOf(environment: NodeJS.ProcessEnv, pin: PluginPin) {
  return {
    title: `the PJRT plugin ${pin.version} (${pin.platform})`,
    wheels: pin.wheels,
    isNeeded: pin.isNeeded,
    destination: cacheFolder(environment, pin),
    isPresent: () => fromCache(environment, pin) !== undefined,
    writeRecord: (folder: string, origin: string) => {
      const record: PluginRecord = { version: pin.version, bytes: statSync(join(folder, pin.plugin)).size, origin };
      writeFileSync(join(folder, RECORD), `${JSON.stringify(record, null, 2)}\n`);
    },
    alternative: 'set WEFT_PJRT_PLUGIN to a plugin that is there',
  };
}

function chooseAccelerator(environment: NodeJS.ProcessEnv): ReturnType<typeof acceleratorOf> {
  const host: Host = describeHost(environment);
  return acceleratorOf(
    host,
    host.gpu ? { cudaVersion: cudaOfDriver(environment) } : { hasRocm: hasRocmGpu(environment) },
  );
}

/** The newest CUDA that the driver speaks, from the head of `nvidia-smi`; undefined where it does not tell. */
function cudaOfDriver(environment: NodeJS.ProcessEnv): number | undefined {
  const { stdout } = spawnSync('nvidia-smi', { env: environment, encoding: 'utf8', timeout: 20_000 });
  const version = /CUDA (?:UMD )?Version: *(\d+\.\d+)/.exec(stdout ?? '')?.[1];
  return version === undefined ? undefined : Number(version);
}

function hasRocmGpu(environment: NodeJS.ProcessEnv): boolean {
  const { status, stdout } = spawnSync('rocm-smi', ['--showid'], {
    env: environment,
    encoding: 'utf8',
    timeout: 20_000,
  });
  return status === 0 && /GPU\[\d+\]/.test(stdout);
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/**
 * NVIDIA's folder of CUDA tools that lies beside a plugin in the layout of Python's packages: the compiler wants
 * `nvvm/libdevice` of it. Undefined where it is not beside it.
 */
export function cudaDirectoryBeside(path: string): string | undefined {
  const own = dirname(path);
  const folder = join(own, '..', '..', 'nvidia', basename(own).endsWith('cuda12') ? 'cuda_nvcc' : 'cu13');
  return statSync(folder, { throwIfNoEntry: false }) === undefined ? undefined : resolve(folder);
}
