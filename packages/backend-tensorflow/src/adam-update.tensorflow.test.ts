import { adamUpdate, type Executor, type PhaseContext, type Program, tf } from '@weft/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import { createExecutor, type EngineKind } from './index.js';

/** Too small for a loop, and large enough. */
const SIZES = [257, 2 ** 16];

const scalars = (step: tf.Tensor) => ({
  learningRate: tf.scalar(0.01),
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-3,
  step,
  gradientScale: tf.scalar(0.5),
});

interface Changes {
  readonly kept?: number;
  readonly parameterOf?: (p: tf.Tensor) => tf.Tensor;
  readonly extra?: (after: tf.Tensor) => Record<string, tf.Tensor>;
}

function program(size: number, { kept, parameterOf = (p) => p, extra = () => ({}) }: Changes = {}): Program {
  const spec = { shape: [size], dtype: 'float32' } as const;
  const run = ({ input, read, assign }: PhaseContext) => {
    const before = { parameter: parameterOf(read('p')), firstMoment: read('m'), secondMoment: read('v') };
    const decay = kept === undefined ? {} : { kept: tf.scalar(kept) };
    const after = adamUpdate(before, input('g'), { ...scalars(input('step')), ...decay });
    assign('p', after.parameter);
    assign('m', after.firstMoment);
    assign('v', after.secondMoment);
    return extra(after.parameter);
  };
  const inputs = { g: spec, step: { shape: [], dtype: 'float32' } } as const;
  return { name: 'adam', state: { p: spec, m: spec, v: spec }, phases: { update: { inputs, run } } };
}

const open: Executor[] = [];
afterAll(async () => {
  for (const executor of open) await executor.dispose();
});

const wave = (phase: number, length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i + phase));

function start(kind: EngineKind, updated: Program): Executor {
  const executor = createExecutor(updated, { kind, precision: 'fp32', threads: 1 });
  open.push(executor);
  return executor;
}

async function train(executor: Executor, size: number): Promise<Record<string, Float32Array>> {
  await executor.writeState({ p: wave(0, size), m: new Float32Array(size), v: new Float32Array(size) });
  for (let t = 1; t <= 5; t++) await update(executor, size, t);
  const state = await executor.readState();
  return Object.fromEntries(Object.entries(state).map(([name, { data }]) => [name, Float32Array.from(data)]));
}

async function update(executor: Executor, size: number, t: number): Promise<void> {
  await executor.run('update', { g: wave(t, size), step: Float32Array.of(t) });
}

describe.each(SIZES)('adamUpdate of %i elements', (size) => {
  for (const [what, changes] of [
    ['without decay', {}],
    ['with decay', { kept: 0.9 }],
  ] as const) {
    it(`gives in place what the formula gives, ${what}`, async () => {
      const updated = program(size, changes);
      const inPlace = await train(start('graph', updated), size);
      const formula = await train(start('javascript', updated), size);
      for (const name of ['p', 'm', 'v']) {
        const expected = formula[name] ?? new Float32Array(0);
        expect(expected).toHaveLength(size);
        const worst = expected.reduce(
          (most, value, i) => Math.max(most, Math.abs(value - (inPlace[name]?.[i] ?? NaN))),
          0,
        );
        expect(worst, name).toBeLessThan(5e-6);
      }
    });
  }

  it('leaves a snapshot of the state alone', async () => {
    const executor = start('graph', program(size));
    await train(executor, size);
    const snapshot = await executor.readState();
    const before = Object.values(snapshot).map(({ data }) => data.slice());
    await update(executor, size, 6);
    const after = await executor.readState();
    for (const [i, [name, { data }]] of Object.entries(snapshot).entries()) {
      expect(Buffer.compare(bytes(data), bytes(before[i]!)), name).toBe(0);
      expect(Buffer.compare(bytes(data), bytes(after[name]!.data)), name).not.toBe(0);
    }
  });

  it('lets the rest of its phase see the variables as they were', async () => {
    const executor = start('graph', withCopy(program(size)));
    await executor.writeState({ p: wave(0, size), m: new Float32Array(size), v: new Float32Array(size) });
    const { before } = await executor.run('update', { g: wave(1, size), step: Float32Array.of(1) });
    const expected = wave(0, size).map((value) => value * 2);
    expect(Buffer.compare(bytes(before!.data), bytes(expected))).toBe(0);
  });

  it('refuses to hand out its results besides', async () => {
    const executor = start('graph', program(size, { extra: (after) => ({ after }) }));
    await expect(update(executor, size, 1)).rejects.toThrow('assigned to variables');
  });

  it('refuses to start from anything but the variables', async () => {
    const executor = start('graph', program(size, { parameterOf: (p) => tf.mul(p, 0.9) }));
    await expect(update(executor, size, 1)).rejects.toThrow('adamUpdate must start from variable p');
  });
});

function bytes({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** The program, which also gives out twice the parameter before the update. */
function withCopy(updated: Program): Program {
  const { update } = updated.phases as { update: Program['phases'][string] };
  const run = (context: PhaseContext) => {
    const before = tf.mul(context.read('p'), 2);
    return { ...update.run(context), before };
  };
  return { ...updated, phases: { update: { ...update, run } } };
}
