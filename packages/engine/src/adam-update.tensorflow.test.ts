import { afterAll, describe, expect, it } from 'vitest';
import {
  adamUpdate,
  createExecutor,
  type EngineKind,
  type Executor,
  type PhaseContext,
  type Program,
  tf,
} from './index.js';

const N = 257;
const spec = { shape: [N], dtype: 'float32' } as const;
const scalars = (step: tf.Tensor) => ({ learningRate: tf.scalar(0.01), beta1: 0.9, beta2: 0.95, epsilon: 1e-3, step });

function program(
  parameterOf: (p: tf.Tensor) => tf.Tensor,
  extra: (after: tf.Tensor) => Record<string, tf.Tensor>,
): Program {
  const run = ({ input, read, assign }: PhaseContext) => {
    const before = { parameter: parameterOf(read('p')), firstMoment: read('m'), secondMoment: read('v') };
    const after = adamUpdate(before, input('g'), scalars(input('step')));
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

const wave = (phase: number) => Float32Array.from({ length: N }, (_, i) => Math.sin(i + phase));

function start(kind: EngineKind, updated: Program): Executor {
  const executor = createExecutor(updated, { kind, precision: 'fp32', threads: 1 });
  open.push(executor);
  return executor;
}

async function train(executor: Executor): Promise<Record<string, Float32Array>> {
  await executor.writeState({ p: wave(0), m: new Float32Array(N), v: new Float32Array(N) });
  for (let step = 1; step <= 5; step++) await executor.run('update', { g: wave(step), step: Float32Array.of(step) });
  const state = await executor.readState();
  return Object.fromEntries(Object.entries(state).map(([name, { data }]) => [name, Float32Array.from(data)]));
}

describe('adamUpdate', () => {
  for (const [what, parameterOf] of [
    ['the variable as it is', (p: tf.Tensor) => p],
    ['a decayed parameter', (p: tf.Tensor) => tf.mul(p, 0.9)],
  ] as const) {
    it(`gives on ${what} in place what the formula gives`, async () => {
      const updated = program(parameterOf, () => ({}));
      const inPlace = await train(start('graph', updated));
      const formula = await train(start('javascript', updated));
      for (const name of ['p', 'm', 'v']) {
        for (const [i, value] of (formula[name] ?? []).entries()) expect(inPlace[name]?.[i]).toBeCloseTo(value, 5);
      }
    });
  }

  it('leaves a snapshot of the state alone', async () => {
    const executor = start(
      'graph',
      program(
        (p) => p,
        () => ({}),
      ),
    );
    await train(executor);
    const snapshot = await executor.readState(['p']);
    const before = snapshot.p?.data.slice();
    await executor.run('update', { g: wave(9), step: Float32Array.of(6) });
    expect(snapshot.p?.data).toEqual(before);
    const { p } = await executor.readState(['p']);
    expect(p?.data).not.toEqual(before);
  });

  it('refuses to hand out its results besides', async () => {
    const executor = start(
      'graph',
      program(
        (p) => p,
        (after) => ({ after }),
      ),
    );
    await expect(executor.run('update', { g: wave(1), step: Float32Array.of(1) })).rejects.toThrow(
      'assigned to variables',
    );
  });
});
