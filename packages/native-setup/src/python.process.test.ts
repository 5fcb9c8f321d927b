import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchWheels } from './fetch-wheels.mjs';
import { findPip } from './python.mjs';
import { tensorflowBuild } from './tensorflow-build.mjs';
import { findTensorFlow, installTensorFlow } from './tensorflow-library.mjs';
import { serve, simpleIndex, smallWheel } from './testing/wheels.js';
import type { SetupProgress, Wheel } from './types.mjs';

const host = { platform: 'linux', architecture: 'x64', glibc: '2.36', gpu: false };
const hasPython = works('python3', ['-c', '']);
const hasPip = findPip(process.env) !== undefined;

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'weft-python-'));
});
afterEach(() => rmSync(home, { recursive: true }));

/** A Python that sees the package `tensorflow` of the given version, which must not be imported. */
function placePackage(distribution: string, version: string): NodeJS.ProcessEnv {
  const directory = join(home, 'site', 'tensorflow');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, '__init__.py'), 'raise SystemExit("imported")');
  for (const name of ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'])
    writeFileSync(join(directory, name), 'elf');
  const info = join(home, 'site', `${distribution.replaceAll('-', '_')}-${version}.dist-info`);
  mkdirSync(info);
  writeFileSync(join(info, 'METADATA'), `Metadata-Version: 2.1\nName: ${distribution}\nVersion: ${version}\n`);
  const { PATH, HOME } = process.env;
  return { PATH, HOME, PYTHONPATH: join(home, 'site'), WEFT_CACHE_DIR: join(home, 'cache') };
}

const fetchTensorflow = (environment: NodeJS.ProcessEnv, onProgress: (progress: SetupProgress) => void, wheel: Wheel) =>
  fetchWheels(tensorflowBuild('cpu', environment, [wheel]), environment, onProgress);

describe.skipIf(!hasPython)('a Python package tensorflow', () => {
  it('is used in place without being imported, and remembered', async () => {
    const environment = placePackage('tensorflow-cpu', '2.19.0');
    const directory = join(home, 'site', 'tensorflow');
    expect(findTensorFlow({ environment, host })).toMatchObject({ directory, source: 'python', version: '2.19.0' });
    await installTensorFlow({ environment, host });
    const withoutPython = { ...environment, PATH: '/nowhere' };
    expect(findTensorFlow({ environment: withoutPython, host })).toMatchObject({ directory, source: 'python' });
  });

  it('is passed over, with the reason, when it is too old or has no GPU kernels for a host with a GPU', () => {
    const environment = placePackage('tensorflow-cpu', '2.9.1');
    expect(findTensorFlow({ environment, host })).toMatchObject({
      found: false,
      reason: expect.stringMatching(/older than 2\.18/),
    });
    rmSync(join(home, 'site'), { recursive: true });
    const newer = placePackage('tensorflow-cpu', '2.21.0');
    expect(findTensorFlow({ environment: newer, host: { ...host, gpu: true } })).toMatchObject({
      found: false,
      reason: expect.stringMatching(/does not use this host's GPU/),
    });
  });
});

describe.skipIf(!hasPip)('pip', () => {
  const environment = (url: string) => {
    const { PATH, HOME } = process.env;
    const cache = join(home, 'cache');
    return { PATH, HOME, PIP_CONFIG_FILE: '/dev/null', PIP_INDEX_URL: `${url}/simple`, WEFT_CACHE_DIR: cache };
  };

  it('downloads the wheel whatever the Python of the host', async () => {
    const { bytes, wheel } = smallWheel();
    const { url, close } = await serve(simpleIndex(wheel.file, bytes));
    await fetchTensorflow(environment(url), () => {}, wheel);
    await close();
    expect(findTensorFlow({ environment: environment(url), host })).toMatchObject({
      source: 'cache',
      variant: 'cpu',
    });
  });

  it('gives its own word for what went wrong', async () => {
    const { url, close } = await serve((_request, response) => {
      response.statusCode = 404;
      response.end();
    });
    await expect(fetchTensorflow(environment(url), () => {}, smallWheel().wheel)).rejects.toThrow(
      /pip could not download tensorflow-cpu 2\.21\.0: .*No matching distribution/,
    );
    await close();
  });
});

function works(program: string, words: readonly string[]): boolean {
  try {
    execFileSync(program, words, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
