import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_SOURCES } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkpoint, type ExpertClusterStep, trainWithExperts } from './expert-cluster.js';
import { tinyConfig } from './memory-cluster.js';

const STEPS = 20;
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'weft-moe-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** 8 experts in every second layer that drop tokens, and two microbatches a rank and step. */
function moe(...settings: string[]): RunConfig {
  const sparse = ['experts=8', 'everyLayers=2', 'capacityFactor=1.25', 'groupSize=128'];
  return tinyConfig(
    'workers=2',
    'microbatchSize=2',
    `steps=${STEPS}`,
    'checkpoint.everySteps=10',
    'evaluation.sequencesPerSource=5',
    'evaluation.everySteps=8',
    // A router's choice is a step function: larger rates soon turn the last bit into another expert.
    'optimizer.learningRate=3e-4',
    'model.decoder.feedForwardWidth=64',
    ...sparse.map((setting) => `model.decoder.moe.${setting}`),
    ...settings,
  );
}

const fresh = { firstStep: 1, state: { kind: 'fresh' } } as const;
type Steps = ReadonlyMap<number, ExpertClusterStep>;

/** The same losses, norms and drops, step by step, and the same held-out losses. */
function expectSame(steps: Steps, expected: Steps, from = 1): void {
  for (let step = from; step <= STEPS; step++) {
    const [a, b] = [steps.get(step)!, expected.get(step)!];
    expect(Math.abs(a.loss / b.loss - 1), `loss of step ${step}`).toBeLessThan(1e-5);
    expect(Math.abs(a.gradNorm / b.gradNorm - 1), `norm of step ${step}`).toBeLessThan(1e-4);
    const layers = ({ experts }: ExpertClusterStep) =>
      experts!.layers.map(({ dropped, routed }) => ({ dropped, routed }));
    expect(layers(a)).toEqual(layers(b));
    expect(a.heldOut === undefined).toBe(![8, 16, 20].includes(step));
    for (const source of DEFAULT_SOURCES)
      if (a.heldOut !== undefined)
        expect(Math.abs(a.heldOut.sources[source]! / b.heldOut!.sources[source]! - 1)).toBeLessThan(1e-5);
  }
}

describe('experts in the workers and in 1, 2 and 3 expert workers', () => {
  let local: Steps;
  beforeAll(async () => {
    local = await trainWithExperts(moe(), join(home, 'local'), fresh);
  });

  it('drop tokens, and do not wait for anybody when they are local', () => {
    const { layers, ...exchange } = local.get(1)!.experts!;
    expect(layers.map(({ layer }) => layer)).toEqual([1, 3]);
    expect(layers.some(({ droppedShare }) => droppedShare > 0)).toBe(true);
    expect(exchange).toEqual({ bytesSent: 0, bytesReceived: 0, waitingSeconds: 0 });
  });

  it.each([1, 2, 3])(
    'give the same losses, held-out ones too, and drop the same tokens (%i)',
    async (expertWorkers) => {
      const directory = join(home, `${expertWorkers}`);
      const steps = await trainWithExperts(moe(`expertWorkers=${expertWorkers}`), directory, fresh);
      expectSame(steps, local);
      expect(steps.get(2)!.experts!.bytesSent).toBeGreaterThan(0);
      expect(steps.get(2)!.experts!.waitingSeconds).toBeGreaterThan(0);
    },
  );

  it('load each other’s checkpoints: 2 → 3 expert workers, → none, and → 2 that compute blocks twice', async () => {
    const half = checkpoint(join(home, '2'), 10);
    for (const expertWorkers of [3, 0]) {
      const directory = join(home, `from-2-to-${expertWorkers}`);
      const config = moe(`expertWorkers=${expertWorkers}`);
      expectSame(await trainWithExperts(config, directory, { firstStep: 11, state: half }), local, 11);
    }
    const whole = checkpoint(join(home, 'local'), 10);
    const recomputing = moe('expertWorkers=2', 'activationCheckpointing=full');
    const steps = await trainWithExperts(recomputing, join(home, 'to-2'), { firstStep: 11, state: whole });
    expectSame(steps, local, 11);
  });
});
