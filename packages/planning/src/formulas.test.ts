import type { Mesh } from '@weft/backend-pjrt';
import { recipe } from '@weft/recipes';
import { expect, test } from 'vitest';
import { deviceMemory, microbatchTraffic, sequenceFlops } from './formulas.js';

const GIB = 2 ** 30;

interface Compiled {
  readonly name: string;
  readonly mesh: Mesh;
  /** Layers of decoder and encoder where they were cut. */
  readonly depth?: readonly [decoder: number, encoder: number];
  /** GiB, as XLA compiled it for H100s: `docs/design/accelerators.md`. */
  readonly state?: number;
  readonly gradients?: number;
  readonly temporaries: number;
  readonly gathered?: number;
  readonly scattered?: number;
}

const fsdp8: Mesh = { fsdp: 8, tensor: 1, expert: 1 };
const COMPILED: readonly Compiled[] = [
  { name: 'mm1-3b', mesh: fsdp8, state: 5.28, gradients: 1.76, temporaries: 5.19, gathered: 13.66, scattered: 13.91 },
  { name: 'mm1-7b', mesh: fsdp8, state: 10.37, gradients: 3.46, temporaries: 6.09, gathered: 27.08, scattered: 27.4 },
  {
    name: 'mm1-30b',
    mesh: fsdp8,
    state: 43.13,
    gradients: 14.38,
    temporaries: 10.06,
    gathered: 114,
    scattered: 114.58,
  },
  // What is gathered and scattered there is tokens too.
  { name: 'mm1-3b-moe-64e', mesh: { ...fsdp8, expert: 8 }, state: 11.3, gradients: 3.77, temporaries: 19.96 },
  { name: 'mm1-3b', mesh: fsdp8, depth: [6, 2], temporaries: 2.65 },
  { name: 'mm1-3b', mesh: fsdp8, depth: [16, 2], temporaries: 3.1 },
];

test.each(COMPILED)('$name $depth with full checkpointing is within 3 % of what XLA compiles', (compiled) => {
  const { name, mesh, depth } = compiled;
  const { model, ...rest } = recipe(name);
  const [decoderDepth, encoderDepth] = depth ?? [model.decoder.depth, model.vision.depth];
  const config = {
    ...rest,
    expertWorkers: 0,
    activationCheckpointing: 'full',
    microbatchSize: mesh.fsdp * mesh.expert,
    model: {
      ...model,
      vision: { ...model.vision, depth: encoderDepth },
      decoder: { ...model.decoder, depth: decoderDepth },
    },
  } as const;
  const memory = deviceMemory(config, mesh);
  const traffic = microbatchTraffic(config, mesh, 8);
  const formulas = { ...traffic, ...memory, state: memory.weights + memory.optimizer, temporaries: memory.activations };
  for (const what of ['state', 'gradients', 'temporaries', 'gathered', 'scattered'] as const) {
    const expected = compiled[what];
    if (expected !== undefined) expect(Math.abs(formulas[what] / GIB / expected - 1), what).toBeLessThan(0.03);
  }
});

test('what is kept and sent follows checkpointing and the mesh', () => {
  const config = { ...recipe('mm1-3b'), microbatchSize: 8 };
  const activations = (['full', 'selective', 'none'] as const).map(
    (activationCheckpointing) => deviceMemory({ ...config, activationCheckpointing }, fsdp8).activations,
  );
  expect(activations).toEqual(activations.toSorted((a, b) => a - b));
  const alone = { fsdp: 1, tensor: 1, expert: 1 };
  expect(microbatchTraffic(config, alone, 8)).toEqual({
    gathered: 0,
    scattered: 0,
    sent: 0,
    summed: 0,
    fromOtherHosts: 0,
  });
  expect(microbatchTraffic(config, { ...alone, tensor: 8 }, 8)).toMatchObject({ gathered: 0, fromOtherHosts: 0 });
  expect(microbatchTraffic(config, fsdp8, 8).fromOtherHosts).toBe(0);
  // Half of all weights and gradients come from the other host.
  const two = microbatchTraffic(config, fsdp8, 4);
  expect(two.fromOtherHosts).toBeCloseTo((two.gathered + two.scattered) / 2, -3);
});

test('operations are those of the recorded products, within 2 %', () => {
  // `productFlops` of the phase gradients of one sequence, of mm1-3b cut to two layers in decoder and encoder.
  const recorded = {
    debugTiny: 0.9900032e9,
    mm1Tiny: 3.99900672e9,
    moeTiny: 1.21806848e9,
    'mm1-3b': 13.087335235584e12,
  };
  for (const [name, flops] of Object.entries(recorded)) {
    const { model, ...rest } = recipe(name);
    const { vision, decoder } = model;
    const cut = { ...model, vision: { ...vision, depth: 2 }, decoder: { ...decoder, depth: 2 } };
    const each = sequenceFlops({ ...rest, model: name === 'mm1-3b' ? cut : model });
    expect(Math.abs((each.decoder + each.images) / flops - 1), name).toBeLessThan(0.02);
    expect(each.again, name).toBe(0);
  }
});

test('operations of encoders are those of the recorded products, and features before gradients are a forward pass more', () => {
  // `productFlops` of the phase gradients of 32 pairs, a pair's share.
  for (const [name, flops, forwards] of [
    ['clip-tiny', 0.119800704e9, 1],
    ['aim-tiny', 0.0394512e9, 0],
  ] as const) {
    const { decoder, images, again } = sequenceFlops(recipe(name));
    expect(Math.abs((decoder + images) / flops - 1), name).toBeLessThan(0.02);
    expect(again, name).toBeCloseTo((forwards * (decoder + images)) / 3, -2);
  }
});
