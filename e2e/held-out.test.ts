import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_SOURCES } from '@weft/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryCluster, nanoConfig } from './memory-cluster.js';

const STEPS = 9;
let home: string;
const clusters: MemoryCluster[] = [];
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'weft-held-out-'));
});
afterAll(async () => {
  for (const cluster of clusters) await cluster.close();
  await rm(home, { recursive: true, force: true });
});

async function trained(name: string, worldSize: number, ...settings: string[]): Promise<MemoryCluster> {
  const config = nanoConfig(`steps=${STEPS}`, `workers=${worldSize}`, 'evaluation.sequencesPerSource=7', ...settings);
  const cluster = await MemoryCluster.open(worldSize, config, join(home, name));
  clusters.push(cluster);
  for (const outcome of await cluster.train(1, 1, { kind: 'fresh' })) expect(outcome.status).toBe('fulfilled');
  return cluster;
}

describe('the held-out loss', () => {
  it('is the same with one rank and with three, is measured when asked, and falls', async () => {
    const one = await trained('one', 1, 'evaluation.everySteps=4');
    const three = await trained('three', 3, 'evaluation.everySteps=4', 'microbatchSize=2');
    expect([...one.heldOut.keys()]).toEqual([4, 8, 9]);
    for (const [step, { loss, sources }] of one.heldOut) {
      const other = three.heldOut.get(step);
      expect(Math.abs(loss / (other?.loss ?? Number.NaN) - 1)).toBeLessThan(1e-4);
      for (const source of DEFAULT_SOURCES)
        expect(Math.abs((sources[source] ?? 0) / (other?.sources[source] ?? Number.NaN) - 1)).toBeLessThan(1e-4);
      const { captioned, interleaved, text } = sources;
      expect(loss).toBeCloseTo((4 * (captioned ?? 0) + 4 * (interleaved ?? 0) + (text ?? 0)) / 9, 10);
    }
    expect(one.heldOut.get(8)?.loss).toBeLessThan(one.heldOut.get(4)?.loss ?? 0);
  });

  it('leaves training as it is, to the bit, and is measured after the last step in any case', async () => {
    const often = await trained('often', 1, 'evaluation.everySteps=1');
    const once = await trained('once', 1);
    expect([...often.heldOut.keys()]).toHaveLength(STEPS);
    expect([...once.heldOut.keys()]).toEqual([STEPS]);
    expect(once.losses).toEqual(often.losses);
    expect(once.heldOut.get(STEPS)?.sources).toEqual(often.heldOut.get(STEPS)?.sources);
  });

  it('leaves out sources without a weight', async () => {
    const cluster = await trained('text', 1, 'data.weights.captioned=0', 'data.weights.interleaved=0');
    const heldOut = cluster.heldOut.get(STEPS);
    expect(heldOut?.sources).toMatchObject({ captioned: null, interleaved: null });
    expect(heldOut?.loss).toBe(heldOut?.sources.text);
  });
});
