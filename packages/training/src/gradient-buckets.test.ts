import { inMemoryRing } from '@weft/collectives';
import { javascriptExecutor, type PhaseRun, type Program, tf } from '@weft/tensor';
import { expect, test } from 'vitest';
import { gradientBuckets, reduceGradients } from './gradient-buckets.js';

const parameters = ['first', 'second', 'third'].map((name) => ({ name, shape: [2] }));
const buckets = gradientBuckets(parameters, 0, 2 * Float32Array.BYTES_PER_ELEMENT);
const program: Program = {
  name: 'buckets',
  state: {},
  phases: {
    backward: {
      inputs: { scale: { shape: [], dtype: 'float32' } },
      run: ({ input }) =>
        Object.fromEntries(
          buckets.map(({ name, length }, i) => [name, tf.mul(tf.fill([length], i + 1), input('scale'))]),
        ),
    },
  },
};

function begin(scale: number): Promise<PhaseRun> {
  const executor = javascriptExecutor(program);
  return executor.begin('backward', { scale: Float32Array.of(scale) });
}

test('buckets hold the last parameters first and the totals in the first bucket', () => {
  expect(buckets.map(({ entries }) => entries.map(({ name }) => name))).toEqual([['third'], ['second'], ['first']]);
  expect(buckets.map(({ length }) => length)).toEqual([4, 2, 2]);
});

test('every rank ends with the sum of all ranks, bucket by bucket', async () => {
  const groups = inMemoryRing(2);
  const runs = await Promise.all(groups.map(({ rank }) => begin(10 ** rank)));
  const reduced = await Promise.all(groups.map((group, i) => reduceGradients(runs[i]!, buckets, group, () => {})));
  for (const host of reduced) {
    expect(buckets.map(({ name }) => [...(host[name]?.data ?? [])])).toEqual([
      [11, 11, 11, 11],
      [22, 22],
      [33, 33],
    ]);
  }
  await Promise.all(groups.map((group) => group.close()));
});

test('a bucket is reduced while the next one is still being computed', async () => {
  const groups = inMemoryRing(2);
  const [run, peer] = await Promise.all([begin(1), begin(1)]);
  const events: string[] = [];
  const peerIsDone = reduceGradients(peer!, buckets, groups[1]!, () => {}).then(() => events.push('the peer has all'));
  const slow: PhaseRun = {
    advance: async (inputs, outputs) => {
      if (outputs[0] === buckets[2]?.name) await until(() => groups[0]!.stats.bytesSent > 0);
      events.push(`${outputs} is computed`);
      return run!.advance(inputs, outputs);
    },
    abandon: () => run!.abandon(),
  };
  await reduceGradients(slow, buckets, groups[0]!, () => events.push('all is computed'));
  await peerIsDone;
  expect(events.slice(0, 3)).toEqual([0, 1, 2].map((index) => `bucket/${index} is computed`));
  expect(events).toContain('all is computed');
  await Promise.all(groups.map((group) => group.close()));
});

test('a broken ring ends the wait for further buckets and abandons the run', async () => {
  const groups = inMemoryRing(2);
  const run = await begin(1);
  let abandoned = false;
  const watched: PhaseRun = {
    advance: async (inputs, outputs) => {
      if (outputs[0] === buckets[1]?.name) await groups[1]!.close();
      return run.advance(inputs, outputs);
    },
    abandon: async () => {
      abandoned = true;
      await run.abandon();
    },
  };
  await expect(reduceGradients(watched, buckets, groups[0]!, () => {})).rejects.toMatchObject({ code: 'unavailable' });
  expect(abandoned).toBe(true);
  await groups[0]!.close();
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
