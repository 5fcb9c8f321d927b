import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cudaDirectoryBeside, findPlugin, installPlugin } from './plugin.js';
import { acceleratorOf, PINS } from './wheels.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'weft-pjrt-'));
});
afterEach(() => rmSync(home, { recursive: true }));

const environment = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  HOME: home,
  PIP_CONFIG_FILE: '/dev/null',
  WEFT_CACHE_DIR: join(home, 'cache'),
  ...more,
});

test('a file that a person names comes first, and must be there', () => {
  const file = join(home, 'plugin.so');
  expect(() => findPlugin({ environment: environment({ WEFT_PJRT_PLUGIN: file }) })).toThrow(/there is no file/);
  writeFileSync(file, 'elf');
  const found = findPlugin({ environment: environment({ WEFT_PJRT_PLUGIN: file }) });
  expect(found).toMatchObject({ found: true, path: file, source: 'environment' });
});

test('then an importable Python package, which is not imported', () => {
  const folder = join(home, 'site', 'jax_plugins', 'xla_cuda13');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, '__init__.py'), 'raise SystemExit("imported")');
  writeFileSync(join(folder, 'xla_cuda_plugin.so'), 'elf');
  const info = join(home, 'site', 'jax_cuda13_pjrt-0.11.2.dist-info');
  mkdirSync(info);
  writeFileSync(join(info, 'METADATA'), 'Metadata-Version: 2.1\nName: jax-cuda13-pjrt\nVersion: 0.11.2\n');
  expect(findPlugin({ environment: environment({ PYTHONPATH: join(home, 'site') }) })).toMatchObject({
    found: true,
    path: join(folder, 'xla_cuda_plugin.so'),
    version: '0.11.2',
    source: 'python',
    reason: 'the Python package jax-cuda13-pjrt is installed',
  });
});

test('then the pinned wheel, whose hash is checked', async () => {
  expect(findPlugin({ environment: environment(), platform: 'cpu' })).toMatchObject({
    found: false,
    hint: expect.stringContaining('scripts/pjrt-plugin.mjs'),
  });
  const [wheel] = PINS.cpu.wheels;
  writeFileSync(join(home, wheel?.file ?? ''), 'not a wheel');
  const withoutPython = environment({ PATH: '/nowhere', PIP_FIND_LINKS: home });
  const other = createHash('sha256').update('not a wheel').digest('hex');
  await expect(installPlugin({ environment: withoutPython, platform: 'cpu' })).rejects.toMatchObject({
    code: 'native_library',
    message: expect.stringContaining(`has the SHA-256 ${other}`),
  });
});

test('which plugin is pinned follows from the GPU that answers', () => {
  const host = { platform: 'linux', architecture: 'x64', glibc: '2.36', gpu: false };
  const nvidia = { ...host, gpu: true };
  expect(acceleratorOf(nvidia, {}).platform).toBe('cuda');
  expect(acceleratorOf(nvidia, { cudaVersion: 13.1 }).platform).toBe('cuda');
  expect(acceleratorOf(nvidia, { cudaVersion: 12.4 })).toEqual({
    platform: 'cuda12',
    reason: 'nvidia-smi lists a GPU, whose driver speaks CUDA 12.4',
  });
  expect(acceleratorOf(nvidia, { cudaVersion: 11.8 }).reason).toMatch(/speaks CUDA 11.8, and no plugin/);
  expect(acceleratorOf(host, { hasRocm: true }).platform).toBe('rocm');
  expect(acceleratorOf(host, {})).toEqual({ reason: 'neither nvidia-smi nor rocm-smi lists a GPU' });
  expect(acceleratorOf({ ...host, platform: 'darwin' }, {}).reason).toMatch(/pinned for darwin/);
  expect(PINS.cuda.isNeeded('nvidia/cu13/lib/libcublas.so.13')).toBe(true);
  expect(PINS.cuda.isNeeded('jax_plugins/xla_cuda13/__init__.py')).toBe(false);
  expect(PINS.cuda12.isNeeded('nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc')).toBe(true);
  for (const { wheels, version, plugin } of Object.values(PINS)) {
    expect(version).toBe('0.11.2');
    expect(plugin).toMatch(/\.so$/);
    for (const { sha256, bytes } of wheels) expect([sha256.length, bytes > 1e6]).toEqual([64, true]);
  }
});

test('an older driver gets the plugin for CUDA 12, with its tools beside it', () => {
  const tools = join(home, 'bin');
  mkdirSync(tools);
  const says = '| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |';
  writeFileSync(
    join(tools, 'nvidia-smi'),
    `#!/bin/sh\n[ "$1" = --list-gpus ] && echo "GPU 0: H100" || echo "${says}"\n`,
  );
  chmodSync(join(tools, 'nvidia-smi'), 0o755);
  expect(findPlugin({ environment: environment({ PATH: `${tools}:/bin:/usr/bin` }) })).toMatchObject({
    found: false,
    reason: expect.stringContaining('driver speaks CUDA 12.4'),
    hint: expect.stringContaining('jax_cuda12_pjrt-0.11.2'),
  });
  const nvcc = join(home, 'nvidia', 'cuda_nvcc');
  mkdirSync(nvcc, { recursive: true });
  expect(cudaDirectoryBeside(join(home, 'jax_plugins', 'xla_cuda12', 'xla_cuda_plugin.so'))).toBe(nvcc);
  expect(cudaDirectoryBeside(join(home, 'jax_plugins', 'xla_cuda13', 'xla_cuda_plugin.so'))).toBeUndefined();
});
