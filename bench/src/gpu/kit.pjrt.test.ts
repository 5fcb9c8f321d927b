import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { installPlugin } from '@weft/backend-pjrt';
import { ncclStandIn, standInEnvironment } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KitResults } from './results.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

let folder: string;
let environment: Record<string, string>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weft-kit-test-'));
  for (const name of ['home', 'tmp', 'host']) mkdirSync(join(folder, name));
  const { path } = await installPlugin({ platform: 'cpu' });
  // A bare host: no repository, no npm, no Python with anything.
  environment = {
    PATH: '/usr/bin:/bin',
    HOME: join(folder, 'home'),
    TMPDIR: join(folder, 'tmp'),
    WEFT_PJRT_PLUGIN: path,
    WEFT_BENCH_PYTHON: join(folder, 'no-python'),
    ...standInEnvironment(ncclStandIn(folder)),
  };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The kit in the folder of the bare host. */
async function run(...words: string[]) {
  const options = ['--device', 'cpu', '--small', '--variants', '1', '--turns', '1', '--steps', '1', ...words];
  const program = join(folder, 'host/weft-gpu-kit/run');
  const call = promisify(execFile)(program, options, { cwd: join(folder, 'host'), env: environment });
  const { stdout, stderr } = await call.catch((error) => {
    throw new Error(`${error.stdout}\n${error.stderr}`);
  });
  const results: KitResults = JSON.parse(readFileSync(join(folder, 'host/results/results.json'), 'utf8'));
  return { stdout, stderr, results };
}

describe('the GPU kit', () => {
  test('is one archive of at most 60 MiB', () => {
    spawnSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-b', 'bench'], { cwd: ROOT });
    const archive = join(folder, 'kit.tar.gz');
    const words = ['pack', '--compression', '1', '--out', archive];
    const packed = spawnSync(process.execPath, [join(ROOT, 'bench/dist/gpu/main.js'), ...words], { encoding: 'utf8' });
    expect(packed.status, packed.stderr).toBe(0);
    expect(statSync(archive).size).toBeLessThan(60 * 2 ** 20);
    expect(spawnSync('tar', ['xzf', archive, '-C', join(folder, 'host')]).status).toBe(0);
    expect(readdirSync(join(folder, 'host'))).toEqual(['weft-gpu-kit']);
  });

  test('runs to its end on a bare host, with small shapes on the CPU plugin', async () => {
    const { stdout, stderr, results } = await run();
    expect(stderr).toContain('PyTorch and JAX are left out');
    const kinds = Object.entries(results.parts).map(([name, { kind }]) => `${name}: ${kind}`);
    expect(kinds).toEqual([
      'ops fp32: ops',
      'ops bf16: ops',
      'model debugNano: model',
      'agreement decoder-1b fp32, weft: agreement',
      'agreement decoder-1b bf16, weft: agreement',
      'nccl: nccl',
      'gemm: gemm',
      'decoder-1b, weft, turn 1: speed',
      'decoder-1b, weft-step, turn 1: speed',
      'mm1-1b, weft, turn 1: speed',
      'mm1-1b, weft-step, turn 1: speed',
      'mm1-3b, weft, turn 1: speed',
      'mm1-3b, weft-step, turn 1: speed',
    ]);
    for (const part of Object.values(results.parts)) {
      if ('check' in part) expect(part.check.faults).toEqual([]);
      if (part.kind === 'speed') expect(part.result.losses.every(Number.isFinite)).toBe(true);
    }
    expect(results.left).toEqual([]);
    expect(stdout).toContain('| mm1-3b 1 | weft-step |');
    expect(readFileSync(join(folder, 'host/results/results.md'), 'utf8').trim()).toBe(stdout.trim());
  });

  test('goes on where an earlier call ended', async () => {
    const { stderr, results } = await run();
    expect(stderr).not.toContain('starts');
    expect(Object.keys(results.parts)).toHaveLength(13);
  });
});
