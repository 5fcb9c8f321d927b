import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { findPlugin, readChip } from '@weft/backend-pjrt';
import { WeftError } from '@weft/common';
import type { PjrtSpec } from '../candidate-spec.js';
import { pythonOf } from '../programs.js';

/** The machine that the kit runs on. */
export interface Host {
  readonly device: 'cpu' | 'gpu';
  /** As `nvidia-smi` tells; undefined where it does not answer. */
  readonly gpu: { readonly name: string; readonly memoryGib: number; readonly driver: string } | undefined;
  /** Of dense bfloat16 products, TFLOP/s; undefined for a chip that Weft has no number of. */
  readonly peakTflops: number | undefined;
  readonly python: Python | undefined;
  readonly plugin: { readonly path: string; readonly version: string | null; readonly reason: string } | undefined;
  /** One sentence for each thing that is missing. */
  readonly missing: readonly string[];
}

/** What Python has; versions, or null. */
interface Python {
  readonly version: string;
  readonly torch: string | null;
  readonly jax: string | null;
  /** Folders of NVIDIA's libraries and programs beside the packages. */
  readonly nvidia: readonly string[];
}

/** @param givenPeak TFLOP/s by the user, for a chip that Weft does not know */
export function lookAtHost(device: Host['device'], givenPeak: number | undefined): Host {
  const python = askForPackages();
  const gpu = device === 'gpu' ? askForGpu() : undefined;
  const plugin = lookForPlugin();
  const missing = [
    ...(device === 'gpu' && gpu === undefined ? ['nvidia-smi does not answer: there may be no GPU here'] : []),
    ...('missing' in plugin ? [`Weft is left out: ${plugin.missing}`] : []),
    ...(python === undefined ? [`PyTorch and JAX are left out: ${pythonOf('jax')} does not run`] : []),
    ...(python?.torch === null ? ['PyTorch is left out: Python has no torch (WEFT_BENCH_PYTHON names another)'] : []),
    ...(python?.jax === null ? ['JAX is left out: Python has no jax (WEFT_BENCH_PYTHON names another)'] : []),
  ];
  const peakTflops = givenPeak ?? (gpu && peakOf(gpu.name));
  return { device, gpu, peakTflops, python, plugin: 'missing' in plugin ? undefined : plugin, missing };
}

/** Nothing is imported: importing torch takes ten seconds. */
const FIND_PACKAGES = `
import importlib.metadata, importlib.util, json, os, platform
def version(name):
    try:
        return importlib.metadata.version(name) if importlib.util.find_spec(name) else None
    except importlib.metadata.PackageNotFoundError:
        return None
spec = importlib.util.find_spec('nvidia')
nvidia = list(spec.submodule_search_locations or []) if spec else []
print(json.dumps({'version': platform.python_version(), 'torch': version('torch'), 'jax': version('jax'), 'nvidia': nvidia}))
`;

function askForPackages(): Python | undefined {
  const { status, stdout } = spawnSync(pythonOf('jax'), ['-c', FIND_PACKAGES], { cwd: '/', encoding: 'utf8' });
  if (status !== 0) return undefined;
  const python: Python = JSON.parse(stdout);
  return python;
}

function askForGpu(): Host['gpu'] {
  const query = ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader,nounits'];
  const { status, stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8', timeout: 20_000 });
  const [name, mebibytes, driver] = (stdout ?? '').split('\n')[0]?.split(', ') ?? [];
  if (status !== 0 || name === undefined || driver === undefined) return undefined;
  return { name, memoryGib: Number(mebibytes) / 1024, driver };
}

function lookForPlugin() {
  // The Python that was chosen for the peers tells of JAX's plugin too.
  const own = pythonOf('jax');
  const path = own.includes('/') ? `${dirname(own)}${delimiter}${process.env.PATH}` : process.env.PATH;
  try {
    const found = findPlugin({ environment: { ...process.env, PATH: path } });
    if (!found.found) return { missing: found.reason };
    return { path: found.path, version: found.version, reason: found.reason };
  } catch (thrown) {
    return { missing: WeftError.from(thrown).message };
  }
}

/** Names that `nvidia-smi` gives to the chips of packages/backend-pjrt/chips. Other forms of a card have other clocks. */
const CHIPS: readonly (readonly [RegExp, string])[] = [
  [/^NVIDIA H200( 141GB HBM3e)?$/, 'h200'],
  [/^NVIDIA H100 80GB HBM3$/, 'h100'],
  [/^NVIDIA A100\b/, 'a100'],
];

export function peakOf(gpuName: string): number | undefined {
  const chip = CHIPS.find(([pattern]) => pattern.test(gpuName))?.[1];
  return chip === undefined ? undefined : readChip(chip).peakBf16TflopPerSecond;
}

/**
 * The environment of every measured process: one GPU even where there are several, and NVIDIA's libraries of Python's
 * packages, which JAX preloads and the plugin alone would have to find.
 */
export function environmentOn({ device, python }: Host): Record<string, string> {
  if (device === 'cpu') return {};
  const [card = '0'] = (process.env.CUDA_VISIBLE_DEVICES ?? '').split(',').filter((each) => each !== '');
  const folders = (python?.nvidia ?? []).flatMap((root) => readdirSync(root).map((name) => join(root, name)));
  return {
    CUDA_VISIBLE_DEVICES: card,
    // Each process has the card to itself; JAX and the plugin are given as much of it.
    XLA_PYTHON_CLIENT_MEM_FRACTION: String(MEMORY_FRACTION),
    PYTORCH_CUDA_ALLOC_CONF: 'expandable_segments:True',
    TOKENIZERS_PARALLELISM: 'false',
    ...joinedPath('LD_LIBRARY_PATH', folders, 'lib'),
    ...joinedPath('PATH', folders, 'bin'),
  };
}

/** Of the card's memory; what is left is for CUDA's own needs. */
const MEMORY_FRACTION = 0.92;

/**
 * How ours reaches the device.
 * @param hasDeviceAlone whether no other process computes there at the same time
 * @throws Error where there is no plugin
 */
export function pjrtOn({ device, plugin, missing }: Host, executables: string, hasDeviceAlone: boolean): PjrtSpec {
  if (plugin === undefined)
    throw new Error(missing.find((sentence) => sentence.startsWith('Weft')) ?? 'there is no PJRT plugin');
  const memory = { memory_fraction: MEMORY_FRACTION, preallocate: hasDeviceAlone };
  return { pluginPath: plugin.path, executables, clientOptions: device === 'gpu' ? memory : { cpu_device_count: 1 } };
}

/** Behind what is there: what a person set comes first. */
function joinedPath(variable: string, folders: readonly string[], inside: string): Record<string, string> {
  const found = folders.map((folder) => join(folder, inside)).filter((folder) => existsSync(folder));
  const given = process.env[variable];
  const all = [...(given ? [given] : []), ...found];
  return all.length === 0 ? {} : { [variable]: all.join(delimiter) };
}
