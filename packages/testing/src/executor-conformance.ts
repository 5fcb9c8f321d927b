import assert from 'node:assert/strict';
import type { Executor, HostTensor, PhaseRun, Program, tf } from '@weft/tensor';

/** One thing that every executor does. */
export interface ConformanceCase {
  readonly name: string;
  /** @param open makes an executor, which the caller disposes */
  run(open: (program: Program) => Executor): Promise<void>;
}

export interface ConformanceOptions {
  /** The package; handed in because few tests need it, and it takes its time to load. */
  readonly tensor: Pick<typeof import('@weft/tensor'), 'tf' | 'javascriptExecutor' | 'sparseSoftmaxCrossEntropy'>;
  /** Whether a phase may be begun without some of its inputs. */
  readonly hasLateInputs: boolean;
}

// Legend: B rows, D width, V classes.
const [B, D, V] = [6, 8, 5];
const SIDE = 16;

/** What an `Executor` promises, over small programs: what phases compute, state, snapshots, runs bit by bit, refusals. */
export function executorConformance({ tensor, hasLateInputs }: ConformanceOptions): readonly ConformanceCase[] {
  const { classifier, remoteCall, counter, broken } = programs(tensor);
  const cases: Record<string, ConformanceCase['run']> = {
    'learns what JavaScript learns, and ends with its state': async (open) => {
      const [device, javascript] = [open(classifier), tensor.javascriptExecutor(classifier)];
      for (const each of [device, javascript]) await each.writeState(initial());
      const [losses, expected] = [await train(device, 10), await train(javascript, 10)];
      assert.ok((expected.at(-1) ?? 1) < 0.7 * (expected[0] ?? 0));
      for (const [i, loss] of losses.entries()) assertNear(loss, expected[i] ?? 0, 1e-5 * (expected[i] ?? 0));
      const [ours, theirs] = [await device.readState(), await javascript.readState()];
      assert.deepEqual(Object.keys(ours).toSorted(), Object.keys(classifier.state).toSorted());
      for (const [name, { data }] of Object.entries(theirs))
        for (const [i, value] of data.entries()) assertNear(ours[name]?.data[i] ?? Number.NaN, value, 1e-4);
      await javascript.dispose();
    },

    'keeps its state between phases, and gives by name what is asked for': async (open) => {
      const device = open(counter);
      await device.writeState({ count: scalar(5), other: scalar(7) });
      for (let i = 0; i < 3; i++) await device.run('add', { x: scalar(2) });
      assert.deepEqual(read(await device.readState(['count'])), { count: 11 });
      await device.writeState({ count: scalar(1) });
      assert.deepEqual(read(await device.readState()), { count: 1, other: 7 });
    },

    'shows a phase the state from before it, whatever it assigns': async (open) => {
      const device = open(counter);
      await device.writeState({ count: scalar(5), other: scalar(7) });
      assert.deepEqual(read(await device.run('swap', {})), { count: 5, other: 7, sum: 12 });
      assert.deepEqual(read(await device.readState()), { count: 7, other: 5 });
    },

    'gives snapshots that later phases leave alone': async (open) => {
      const device = open(counter);
      await device.writeState({ count: scalar(0), other: scalar(0) });
      await device.run('add', { x: scalar(1) });
      const before = await device.readState();
      await device.run('add', { x: scalar(1) });
      await device.run('swap', {});
      assert.deepEqual(read(before), { count: 1, other: 0 });
      assert.deepEqual(read(await device.readState()), { count: 0, other: 2 });
    },

    'takes its own outputs as inputs, and inputs again that it was given before': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const x = filled(3);
      const { sent } = await device.run('call', { x, answer: filled(1) });
      const { y } = await device.run('call', { x, answer: sent as HostTensor });
      assert.equal(y?.data[0], 18);
      assert.deepEqual(x, filled(3));
      for (const each of [sent, y]) each?.dispose();
    },

    'leaves outputs as they are while phases go on': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const first = await device.run('call', { x: filled(3), answer: filled(1) });
      await device.run('call', { x: filled(4), answer: filled(2) });
      assert.deepEqual([first.sent?.data[0], first.echo?.data[1], first.y?.data[2]], [6, 3, 3]);
    },

    'gives the outputs of a phase one after the other when it is begun with all inputs': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const run = await device.begin('call', { x: filled(1), answer: filled(2) });
      assert.equal(await firstOf(run, 'sent'), 2);
      assert.equal(await firstOf(run, 'y'), 2);
      await run.abandon();
      await run.abandon();
      assert.deepEqual(read(await device.readState()), { runs: 1 });
    },

    'may be told beforehand what will run': async (open) => {
      const device = open(counter);
      device.prepare(['add', 'swap']);
      device.prepare(['add']);
      await device.writeState({ count: scalar(1), other: scalar(0) });
      await device.run('add', { x: scalar(2) });
      assert.deepEqual(read(await device.readState(['count'])), { count: 3 });
    },

    'names a missing, an unknown and a misfit input, and goes on': async (open) => {
      const device = open(counter);
      await device.writeState({ count: scalar(0), other: scalar(0) });
      const invalid = { code: 'invalid_argument' };
      await assertRefused(device.run('add', {}), /phase add: input x is missing/, invalid);
      await assertRefused(device.run('add', { x: scalar(1), extra: scalar(1) }), /there is no input extra/, invalid);
      const misfit = /input x is float32\[\] but got float32 with 2 elements/;
      await assertRefused(device.run('add', { x: new Float32Array(2) }), misfit, invalid);
      await assertRefused(device.run('add', { x: Int32Array.of(1) }), /input x is float32\[\] but got int32/, invalid);
      await device.run('add', { x: scalar(2) });
      assert.deepEqual(read(await device.readState(['count'])), { count: 2 });
    },

    'names a phase and a state that do not exist, and a state of another size': async (open) => {
      const device = open(counter);
      await assertRefused(device.run('nothing', {}), /nothing/);
      await assertRefused(device.begin('nothing', {}), /nothing/);
      await assertRefused(device.writeState({ nothing: scalar(0) }), /nothing/);
      await assertRefused(device.writeState({ count: new Float32Array(2) }), /state count of program counter/);
    },

    'names a state that was never written': async (open) => {
      const device = open(counter);
      await assertRefused(device.run('add', { x: scalar(1) }), /count/);
      await assertRefused(device.readState(['count']), /count/);
    },

    'names program and phase where an op cannot be': async (open) => {
      for (const phase of ['shapes', 'readsHost']) {
        await assertRefused(
          open(broken).run(phase, { x: new Float32Array(6) }),
          RegExp(`program broken, phase ${phase}`),
        );
      }
    },

    'may be disposed twice, before and after it ran': async (open) => {
      const [fresh, used] = [open(counter), open(counter)];
      await used.writeState({ count: scalar(0), other: scalar(0) });
      await used.run('add', { x: scalar(1) });
      for (const device of [fresh, used, fresh, used]) await device.dispose();
    },
  };

  const late: Record<string, ConformanceCase['run']> = {
    'gives an output before a late input comes, with several runs under way': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const runs = await Promise.all([3, 5].map((x) => device.begin('call', { x: filled(x) })));
      const sent = await Promise.all(runs.map((run) => run.advance({}, ['sent'])));
      assert.deepEqual(
        sent.map((tensors) => tensors.sent?.data[0]),
        [6, 10],
      );
      // Each is given what the other one sent.
      const rest = await Promise.all(
        runs.map((run, i) => run.advance({ answer: sent[1 - i]?.sent as HostTensor }, ['y', 'same', 'echo'])),
      );
      assert.deepEqual(
        rest.map(({ y, same, echo }) => [y, same, echo].map((each) => each?.data[0])),
        [
          [30, 6, 3],
          [30, 10, 5],
        ],
      );
      assert.deepEqual(read(await device.readState()), { runs: 2 });
    },

    'refuses names that are unknown or used before, and the run goes on': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const run = await device.begin('call', { x: filled(1) });
      await assertRefused(run.advance({ x: filled(1) }, []), /input x is unknown or was used before/);
      await assertRefused(run.advance({}, ['z']), /output z is unknown or was used before/);
      await assertRefused(run.advance({ answer: new Float32Array(3) }, []), /got float32 with 3 elements/);
      assert.equal((await run.advance({ answer: filled(7) }, ['y'])).y?.data[0], 7);
      await run.abandon();
    },

    'says that an output still lacks an input, instead of waiting for it': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const run = await device.begin('call', { x: filled(1) });
      await assertRefused(run.advance({}, ['y']), /remote call, phase call/);
      await run.abandon();
    },

    'is as good as before when a run is abandoned half-way': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const run = await device.begin('call', { x: filled(1) });
      assert.equal(await firstOf(run, 'sent'), 2);
      await run.abandon();
      await run.abandon();
      const { y } = await device.run('call', { x: filled(2), answer: filled(4) });
      assert.equal(y?.data[0], 8);
    },
  };

  const allAtOnce: Record<string, ConformanceCase['run']> = {
    'says which inputs it cannot wait for': async (open) => {
      const device = open(remoteCall);
      await device.writeState({ runs: scalar(0) });
      const code = 'failed_precondition';
      await assertRefused(device.begin('call', { x: filled(1) }), /waits for answer/, { code });
    },
  };

  const all = { ...cases, ...(hasLateInputs ? late : allAtOnce) };
  return Object.entries(all).map(([name, run]) => ({ name, run }));
}

/** Two layers that learn to tell classes apart, for tests of what executors do not have in common. */
export function classifier(tensor: ConformanceOptions['tensor']) {
  return { program: programs(tensor).classifier, initial, train };
}

function programs({ tf, sparseSoftmaxCrossEntropy }: ConformanceOptions['tensor']) {
  const number = { shape: [], dtype: 'float32' } as const;
  const square = { shape: [SIDE, SIDE], dtype: 'float32' } as const;

  /** Two layers, with a phase for gradients and one for the update. */
  const classifier: Program = {
    name: 'classifier',
    state: {
      w1_DD: { shape: [D, D], dtype: 'float32' },
      w2_DV: { shape: [D, V], dtype: 'float32' },
      count: number,
    },
    phases: {
      gradients: {
        inputs: {
          rows: { shape: [B], dtype: 'int32' },
          table: { shape: [10, D], dtype: 'float32' },
          labels: { shape: [B], dtype: 'int32' },
        },
        run: ({ input, read }) => {
          const lossOf = (w1: tf.Tensor, w2: tf.Tensor) => {
            const x_BD = tf.gather(input('table'), input('rows')) as tf.Tensor2D;
            const hidden_BD = tf.tanh(tf.matMul(x_BD, w1 as tf.Tensor2D));
            const logits_BV = tf.matMul(hidden_BD, w2 as tf.Tensor2D) as tf.Tensor2D;
            return tf.sum(sparseSoftmaxCrossEntropy(logits_BV, input('labels') as tf.Tensor1D)) as tf.Scalar;
          };
          const { value, grads } = tf.valueAndGrads(lossOf)([read('w1_DD'), read('w2_DV')]);
          return { loss: value, w1_DD: grads[0] as tf.Tensor, w2_DV: grads[1] as tf.Tensor };
        },
      },
      update: {
        inputs: { g1: { shape: [D, D], dtype: 'float32' }, g2: { shape: [D, V], dtype: 'float32' } },
        run: ({ input, read, assign }) => {
          assign('w1_DD', tf.sub(read('w1_DD'), tf.mul(input('g1'), 0.1)));
          assign('w2_DV', tf.sub(read('w2_DV'), tf.mul(input('g2'), 0.1)));
          assign('count', tf.add(read('count'), 1));
          return { before: read('count') };
        },
      },
    },
  };

  /** x → sent = 2x leaves; what comes back as `answer` is multiplied by x. */
  const remoteCall: Program = {
    name: 'remote call',
    state: { runs: number },
    phases: {
      call: {
        inputs: { x: square, answer: square },
        run: ({ input, read, assign }) => {
          assign('runs', tf.add(read('runs'), 1));
          const x = input('x');
          return { sent: tf.mul(x, 2), same: tf.mul(x, 2), echo: x, y: tf.mul(input('answer'), x) };
        },
      },
    },
  };

  const counter: Program = {
    name: 'counter',
    state: { count: number, other: number },
    phases: {
      add: {
        inputs: { x: number },
        run: ({ input, read, assign }) => {
          assign('count', tf.add(read('count'), input('x')));
          return {};
        },
      },
      swap: {
        inputs: {},
        run: ({ read, assign }) => {
          const [count, other] = [read('count'), read('other')];
          assign('count', other);
          assign('other', count);
          return { count: tf.mul(read('count'), 1), other: tf.mul(read('other'), 1), sum: tf.add(count, other) };
        },
      },
    },
  };

  const pair = { x: { shape: [2, 3], dtype: 'float32' } } as const;
  const broken: Program = {
    name: 'broken',
    state: {},
    phases: {
      shapes: { inputs: pair, run: ({ input }) => ({ y: tf.squaredDifference(input('x'), tf.zeros([4, 4])) }) },
      readsHost: {
        inputs: pair,
        run: () => {
          throw new Error('this phase reads a value on the host');
        },
      },
    },
  };
  return { classifier, remoteCall, counter, broken };
}

const wave = (n: number, phase: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + phase));
const scalar = (value: number) => Float32Array.of(value);
const filled = (value: number) => new Float32Array(SIDE * SIDE).fill(value);
const initial = () => ({ w1_DD: wave(D * D, 1), w2_DV: wave(D * V, 2), count: scalar(0) });

/** Steps of the classifier. @returns its losses */
async function train(executor: Executor, steps: number): Promise<number[]> {
  const inputs = {
    rows: Int32Array.from([0, 3, 3, 9, 1, 7]),
    table: wave(10 * D, 0.3),
    labels: Int32Array.from([0, 1, 2, 3, 4, 0]),
  };
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const { loss, w1_DD, w2_DV } = await executor.run('gradients', inputs);
    losses.push(loss?.data[0] ?? Number.NaN);
    const { before } = await executor.run('update', { g1: w1_DD as HostTensor, g2: w2_DV as HostTensor });
    assert.equal(before?.data[0], step);
    for (const tensor of [loss, w1_DD, w2_DV, before]) tensor?.dispose();
  }
  return losses;
}

async function firstOf(run: PhaseRun, output: string): Promise<number | undefined> {
  const { [output]: tensor } = await run.advance({}, [output]);
  return tensor?.data[0];
}

/** The numbers in scalars. */
function read(tensors: Readonly<Record<string, HostTensor>>): Record<string, number | undefined> {
  return Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, data[0]]));
}

function assertNear(value: number, expected: number, within: number): void {
  assert.ok(Math.abs(value - expected) <= within, `${value} is not within ${within} of ${expected}`);
}

async function assertRefused(work: Promise<unknown>, message: RegExp, more: { readonly code?: string } = {}) {
  await assert.rejects(work, { ...more, message });
}
