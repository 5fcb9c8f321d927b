import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newestCheckpoint } from '@weft/checkpoint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryCluster, nanoConfig } from './memory-cluster.js';

const STEPS = 12;
let home: string;
const clusters: MemoryCluster[] = [];
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'weft-memory-'));
});
afterAll(async () => {
  for (const cluster of clusters) await cluster.close();
  await rm(home, { recursive: true, force: true });
});

async function cluster(name: string, worldSize: number, ...settings: string[]): Promise<MemoryCluster> {
  const own = [`steps=${STEPS}`, `workers=${worldSize}`, 'microbatchSize=1', 'checkpoint.everySteps=6'];
  const config = nanoConfig(...own, ...settings);
  const made = await MemoryCluster.open(worldSize, config, join(home, name));
  clusters.push(made);
  return made;
}

function differences(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): number[] {
  return [...a].map(([step, loss]) => Math.abs(loss / (b.get(step) ?? Number.NaN) - 1));
}

const finished = { status: 'fulfilled', value: { outcome: 'finished', step: STEPS } };

describe('a whole run inside one process', () => {
  it('gives the same losses with four ranks and with one, and the same bits after a release and a resume', async () => {
    const one = await cluster('one', 1);
    expect(await one.train(1, 1, { kind: 'fresh' })).toMatchObject([finished]);

    const four = await cluster('four', 4);
    expect(await four.train(1, 1, { kind: 'fresh' })).toMatchObject([finished, finished, finished, finished]);
    expect(four.losses.size).toBe(STEPS);
    expect(Math.max(...differences(four.losses, one.losses))).toBeLessThan(1e-4);

    const resumed = await cluster('four', 4);
    await resumed.train(2, 7, resumed.checkpoint(6));
    for (const [step, loss] of resumed.losses) expect(loss).toBe(four.losses.get(step));

    const released = await cluster('released', 4);
    const outcomes = await released.train(1, 1, { kind: 'fresh' }, { releaseAt: 5 });
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'cancelled' } });
    await released.train(2, 5, { kind: 'keep' }, { worldSize: 3 });
    expect(released.losses.size).toBe(STEPS);
    expect(Math.max(...differences(released.losses, one.losses))).toBeLessThan(1e-4);
  });

  it('saves the last checkpoint in another generation when the one that trained it lost a rank', async () => {
    const two = await cluster('two', 2, 'checkpoint.everySteps=100');
    await two.train(1, 1, { kind: 'fresh' });
    await rm(join(home, 'two'), { recursive: true });
    expect(await two.train(2, STEPS + 1, { kind: 'keep' }, { worldSize: 1 })).toMatchObject([finished]);
    expect((await newestCheckpoint(join(home, 'two'))).checkpoint?.manifest.step).toBe(STEPS);
  });

  it('counts a step whose gradients are not finite, and does not apply it', async () => {
    const poisoned = await cluster('poisoned', 2, 'optimizer.learningRate=1e30', 'optimizer.warmupSteps=0');
    await poisoned.train(1, 1, { kind: 'fresh' });
    expect([...poisoned.losses.keys()]).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  });
});
