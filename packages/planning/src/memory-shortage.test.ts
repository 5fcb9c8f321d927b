import type { RunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { expect, test } from 'vitest';
import { memoryShortage } from './memory-shortage.js';
import { planRun } from './plan-run.js';

const GIB = 2 ** 30;
const host = (gib: number) => ({ hostBytes: gib * GIB, devices: 0, deviceBytes: 0 });
const gpus = (devices: number, gib: number) => ({ hostBytes: 2000 * GIB, devices, deviceBytes: gib * GIB });
const withEngine = (config: RunConfig, engine: Partial<RunConfig['engine']>): RunConfig => ({
  ...config,
  engine: { ...config.engine, ...engine },
});
const automatic = { mesh: 'auto', backend: 'pjrt' } as const;

test('a host needs weights, moments and gradients, and the logits', () => {
  const config = recipe('mm1-3b');
  const refused = memoryShortage(config, 'rank', host(32));
  // 3.78 B parameters of 16 bytes.
  expect(refused?.message).toMatch(
    /^32\sGiB of memory, and needs at least 56\.8\sGiB \(weights and optimizer 42\.\d\sGiB, gradients 14\.\d\sGiB, the least of all else /,
  );
  expect(refused?.hint).toContain('weft launch mm1-3b --dry-run --devices 8x80GiB');
  expect(memoryShortage(config, 'rank', host(64))).toBeUndefined();
  expect(memoryShortage(recipe('mm1Tiny'), 'rank', host(1))).toBeUndefined();
});

test('GPUs are refused with the nearest settings that fit them', () => {
  const config = withEngine(recipe('mm1-30b'), automatic);
  const refused = memoryShortage(config, 'rank', gpus(8, 40));
  expect(refused?.message).toMatch(/^40\sGiB on each of its devices, mesh .* 8, and needs at least 6\d/);
  expect(refused?.hint).toMatch(/^it fits such workers with --set |--dry-run --devices/);
  expect(memoryShortage(config, 'rank', gpus(8, 80))).toBeUndefined();
  const alone = withEngine(recipe('mm1-3b'), { mesh: { fsdp: 1, tensor: 1, expert: 1 } });
  expect(memoryShortage(alone, 'rank', gpus(8, 40))?.message).toMatch(/^40\sGiB on each of its devices, and/);
});

test('what a worker does not say, and what would be computed elsewhere, refuses nothing', () => {
  const config = recipe('mm1-30b');
  expect(memoryShortage(config, 'rank', { hostBytes: 0, devices: 0, deviceBytes: 0 })).toBeUndefined();
  expect(memoryShortage(withEngine(config, { backend: 'tensorflow' }), 'rank', gpus(8, 1))).toBeUndefined();
});

test('runs that train an encoder alone are refused like others', () => {
  // 0.99 B parameters of both towers of ViT-H, of 16 bytes, and the features of 32,768 pairs.
  expect(memoryShortage(recipe('clip-vit-h-14-378'), 'rank', host(8))?.message).toMatch(
    /^8\sGiB of memory, and needs at least 15\sGiB/,
  );
  expect(memoryShortage(recipe('clip-vit-h-14-378'), 'rank', host(32))).toBeUndefined();
  expect(memoryShortage(recipe('aim-3b'), 'rank', host(32))?.message).toMatch(/needs at least 4\d/);
  expect(memoryShortage(recipe('aim-tiny'), 'rank', host(1))).toBeUndefined();
});

test('an expert worker needs its share of the experts', () => {
  const config = { ...recipe('mm1-3b-moe-64e'), expertWorkers: 8 };
  expect(memoryShortage(config, 'expertWorker', host(64))?.message).toMatch(
    /^64\sGiB of memory, and needs at least 115/,
  );
  expect(memoryShortage({ ...config, expertWorkers: 64 }, 'expertWorker', host(64))).toBeUndefined();
  // With the copy of another one's, which `auto` goes without where it does not fit.
  const many = { ...config, expertWorkers: 16 } as const;
  expect(memoryShortage(many, 'expertWorker', host(64))).toBeUndefined();
  expect(memoryShortage({ ...many, expertCopies: true }, 'expertWorker', host(64))?.message).toMatch(
    /needs at least 11\d/,
  );
  expect(memoryShortage(config, 'expertWorker', host(512))).toBeUndefined();
});

test('nothing is refused that a plan says fits', () => {
  for (const name of ['mm1-3b', 'mm1-30b', 'mm1-3b-moe-64e']) {
    for (const gib of [40, 80]) {
      const target = { devicesPerHost: 8, memoryBytes: gib * GIB, chip: undefined, networkBytesPerSecond: 1 };
      const { layout, nearest } = planRun(recipe(name), { ...target, hosts: 4, price: undefined });
      for (const { fits, hostsPerWorker, mesh, ...settings } of [layout, ...nearest]) {
        if (!fits || hostsPerWorker > 1) continue;
        const config = withEngine({ ...recipe(name), ...settings }, { ...automatic, mesh });
        expect(memoryShortage(config, 'rank', gpus(8, gib)), `${name} on ${gib} GiB`).toBeUndefined();
      }
    }
  }
});
