import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheDirectory } from './cache.mjs';
import { NativeLibraryError } from './error.mjs';
import { findTensorFlow, installTensorFlow } from './tensorflow-library.mjs';

const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
const host = { platform: 'linux', architecture: 'x64', glibc: '2.36', gpu: false };

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'weft-native-'));
});
afterEach(() => rmSync(home, { recursive: true }));

const environment = (more: NodeJS.ProcessEnv = {}) => ({
  PATH: join(home, 'no-programs'),
  HOME: home,
  WEFT_CACHE_DIR: join(home, 'cache'),
  ...more,
});
function place(directory: string) {
  mkdirSync(directory, { recursive: true });
  for (const name of LIBRARIES) writeFileSync(join(directory, name), 'elf');
}
function placeInCache(variant: 'cpu' | 'gpu') {
  const folder = join(home, 'cache', 'tensorflow', `2.21.0-${variant}`);
  place(join(folder, 'tensorflow'));
  const record = { version: '2.21.0', variant, directory: 'tensorflow', bytes: [3, 3], origin: 'a test' };
  writeFileSync(join(folder, 'library.json'), JSON.stringify(record));
  return join(folder, 'tensorflow');
}

describe('WEFT_TENSORFLOW_DIR', () => {
  it('wins over everything, with the version of the wheel metadata beside it', () => {
    placeInCache('cpu');
    place(join(home, 'site', 'tensorflow'));
    mkdirSync(join(home, 'site', 'tensorflow_cpu-2.20.1.dist-info'));
    const found = findTensorFlow({
      environment: environment({ WEFT_TENSORFLOW_DIR: join(home, 'site/tensorflow') }),
    });
    expect(found).toEqual({
      found: true,
      directory: join(home, 'site', 'tensorflow'),
      version: '2.20.1',
      variant: 'unknown',
      source: 'environment',
      reason: 'WEFT_TENSORFLOW_DIR names it',
    });
  });

  it('is an error with a hint when the folder lacks the library, even where the cache has one', async () => {
    placeInCache('cpu');
    const wrong = environment({ WEFT_TENSORFLOW_DIR: '/nowhere' });
    expect(() => findTensorFlow({ environment: wrong })).toThrow(NativeLibraryError);
    await expect(installTensorFlow({ environment: wrong })).rejects.toMatchObject({
      message: expect.stringMatching(/WEFT_TENSORFLOW_DIR is \/nowhere, a folder that does not hold libtensorflow_cc/),
      hint: expect.stringMatching(/^set it to the folder/),
    });
  });
});

describe('the cache', () => {
  it('answers without asking Python', async () => {
    const directory = placeInCache('cpu');
    const expected = { found: true, directory, source: 'cache', variant: 'cpu' };
    expect(findTensorFlow({ environment: environment(), host })).toMatchObject(expected);
    expect(await installTensorFlow({ environment: environment(), host })).toMatchObject(expected);
  });

  it('gives a host the build that suits it, and says when only the other is there', () => {
    const cpu = placeInCache('cpu');
    const onlyCpu = findTensorFlow({ environment: environment(), host: { ...host, gpu: true } });
    expect(onlyCpu).toMatchObject({ directory: cpu, reason: expect.stringMatching(/does not use this host's GPU/) });
    const gpu = placeInCache('gpu');
    expect(findTensorFlow({ environment: environment(), host })).toMatchObject({ directory: cpu });
    expect(findTensorFlow({ environment: environment(), host: { ...host, gpu: true } })).toMatchObject({
      directory: gpu,
    });
  });

  it('does not count a library that is cut off', () => {
    truncateSync(join(placeInCache('cpu'), 'libtensorflow_cc.so.2'), 1);
    expect(findTensorFlow({ environment: environment(), host }).found).toBe(false);
  });

  it('lies in WEFT_CACHE_DIR, else in the home of the user', () => {
    expect(cacheDirectory({ WEFT_CACHE_DIR: '/big' })).toBe('/big');
    expect(cacheDirectory({})).toMatch(/\.cache\/weft$/);
  });
});

describe('absence', () => {
  it('says what was looked at and what to do', () => {
    expect(findTensorFlow({ environment: environment(), host })).toEqual({
      found: false,
      reason: `no TensorFlow library was found: nothing in ${home}/cache, and no Python package tensorflow is installed`,
      hint: 'run `node scripts/native-library.mjs`, or set WEFT_TENSORFLOW_DIR to a folder that holds libtensorflow_cc.so.2',
    });
  });

  it('is an error of installing where the wheels do not run', async () => {
    const installing = installTensorFlow({ environment: environment(), host: { ...host, glibc: null } });
    await expect(installing).rejects.toMatchObject({ code: 'native_library', message: expect.stringMatching(/glibc/) });
  });
});
