import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installPlugin } from '@weft/backend-pjrt';
import { DEFAULT_SOURCES } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkpoint, type ExpertClusterStep, trainWithExperts } from './expert-cluster.js';
import { nanoConfig, tinyConfig } from './memory-cluster.js';

const STEPS = 20;
let home: string;
beforeAll(async () => {
  process.env.WEFT_PJRT_PLUGIN = (await installPlugin({ platform: 'cpu' })).path;
  process.env.JAX_NUM_CPU_DEVICES = '1';
  home = await mkdtemp(join(tmpdir(), 'weft-moe-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** 8 experts that drop tokens, and two microbatches a rank and step or more. */
const settings = [
  `steps=${STEPS}`,
  'checkpoint.everySteps=10',
  'evaluation.sequencesPerSource=5',
  'evaluation.everySteps=8',
  // A router's choice is a step function: larger rates soon turn the last bit into another expert.
  'optimizer.learningRate=3e-4',
  'model.decoder.moe.experts=8',
  'model.decoder.moe.capacityFactor=1.25',
];

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

function expectExchange(steps: Steps): void {
  expect(steps.get(2)!.experts!.bytesSent).toBeGreaterThan(0);
  expect(steps.get(2)!.experts!.waitingSeconds).toBeGreaterThan(0);
}

/** Local experts, which drop tokens and wait for nobody. */
async function trainLocally(config: RunConfig, directory: string, layers: readonly number[]): Promise<Steps> {
  const local = await trainWithExperts(config, directory, fresh);
  const { layers: reported, ...exchange } = local.get(1)!.experts!;
  expect(reported.map(({ layer }) => layer)).toEqual(layers);
  expect(reported.some(({ droppedShare }) => droppedShare > 0)).toBe(true);
  expect(exchange).toEqual({ bytesSent: 0, bytesReceived: 0, waitingSeconds: 0 });
  return local;
}

describe('experts in two workers and in 1, 2 and 3 expert workers', () => {
  const moe = (expertWorkers: number): RunConfig =>
    nanoConfig(
      ...['workers=2', 'microbatchSize=1', 'model.decoder.moe.everyLayers=2', 'model.decoder.moe.groupSize=64'],
      ...[...settings, 'engine.backend=pjrt', `expertWorkers=${expertWorkers}`],
    );
  const at = (name: number | string) => join(home, `nano-${name}`);
  let local: Steps;
  beforeAll(async () => {
    local = await trainLocally(moe(0), at('local'), [1]);
  });

  it.each([1, 2, 3])(
    'give the same losses, held-out ones too, and drop the same tokens (%i)',
    async (expertWorkers) => {
      const steps = await trainWithExperts(moe(expertWorkers), at(expertWorkers), fresh);
      expectSame(steps, local);
      expectExchange(steps);
    },
  );

  it('load each other’s checkpoints: 2 → 3 expert workers, → none, and → 2', async () => {
    const half = { firstStep: 11, state: checkpoint(at(2), 10) };
    for (const expertWorkers of [3, 0])
      expectSame(await trainWithExperts(moe(expertWorkers), at(`2-to-${expertWorkers}`), half), local, 11);
    const whole = { firstStep: 11, state: checkpoint(at('local'), 10) };
    expectSame(await trainWithExperts(moe(2), at('to-2'), whole), local, 11);
  });
});

describe('experts of TensorFlow, whose phases wait for them in the middle', () => {
  const moe = (...more: string[]): RunConfig =>
    tinyConfig(
      'engine.backend=tensorflow',
      ...['workers=1', 'microbatchSize=4', 'model.decoder.feedForwardWidth=64'],
      ...['model.decoder.moe.everyLayers=2', 'model.decoder.moe.groupSize=128'],
      ...[...settings, ...more],
    );
  const at = (name: string) => join(home, `tiny-${name}`);

  it('give the same losses in 2 expert workers, and in 2 that load a checkpoint and compute blocks twice', async () => {
    const local = await trainLocally(moe(), at('local'), [1, 3]);
    const steps = await trainWithExperts(moe('expertWorkers=2'), at('2'), fresh);
    expectSame(steps, local);
    expectExchange(steps);
    const half = { firstStep: 11, state: checkpoint(at('local'), 10) };
    const recomputing = moe('expertWorkers=2', 'activationCheckpointing=full');
    expectSame(await trainWithExperts(recomputing, at('to-2'), half), local, 11);
  });
});
