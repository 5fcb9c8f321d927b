import type { ExchangeDevices } from '@weft/collectives';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { expect, test } from 'vitest';
import { openDeviceExchange } from './device-exchange.js';

/** What a process with so many devices offers and is told, when another has no GPU. */
async function open(engine: Partial<RunConfig['engine']>, devices: number, precision: 'fp32' | 'bf16' = 'fp32') {
  const nano = recipe('debugNano');
  const { decoder } = nano.model;
  const moe = { experts: 2, everyLayers: 2, exchangePrecision: precision };
  const config = resolveRunConfig({
    ...nano,
    engine: { ...nano.engine, ...engine },
    model: { ...nano.model, decoder: { ...decoder, moe } },
  });
  const offered: ExchangeDevices[] = [];
  const told: string[] = [];
  const isOnDevices = await openDeviceExchange({
    config,
    executor: { deviceCount: async () => devices },
    open: async (own) => {
      offered.push(own);
      return { reason: 'rank 1: the engine has no GPU' };
    },
    onExchange: (description) => void told.push(description),
  });
  return { isOnDevices, missing: offered.map(({ missing }) => missing), told };
}

test('processes whose engine may have a GPU say what they have; who has one is told why rows do not stay there', async () => {
  expect(await open({ collectives: 'auto' }, 0)).toEqual({
    isOnDevices: false,
    missing: ['the engine has no GPU'],
    told: [],
  });
  const { missing, told } = await open({ backend: 'pjrt' }, 2);
  expect(missing).toEqual(['the engine has 2 devices; rows go from device to device where each has one']);
  expect(told).toEqual(['their connections: rank 1: the engine has no GPU']);
  const { missing: rounded } = await open({ backend: 'pjrt' }, 1, 'bf16');
  expect(rounded[0]).toContain('exchangePrecision is bf16');
});

test('nobody is asked where the settings leave no choice', async () => {
  for (const engine of [{ collectives: 'ring' }, { backend: 'tensorflow' }] as const)
    expect(await open(engine, 0)).toEqual({ isOnDevices: false, missing: [], told: [] });
});

test('a run that asks for NCCL is refused where a process lacks it, which is named', async () => {
  await expect(open({ collectives: 'nccl', backend: 'pjrt' }, 1)).rejects.toThrow(
    'engine.collectives is nccl, but rank 1: the engine has no GPU',
  );
});
