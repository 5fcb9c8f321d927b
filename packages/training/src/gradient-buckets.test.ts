import { inMemoryRing } from '@weft/collectives';
import { deferred } from '@weft/common';
import {
  type Box,
  type DeviceSpan,
  javascriptExecutor,
  type PhaseInputs,
  type PhaseRun,
  type Program,
  type ResidentPart,
  type ResidentTensor,
  tf,
} from '@weft/tensor';
import { expect, test } from 'vitest';
import { gradientBuckets, haveSameParts, reduceGradients } from './gradient-buckets.js';

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
  const reduced = await Promise.all(
    groups.map((group, i) => reduceGradients(runs[i]!, { buckets, group, sameParts: true }, () => {})),
  );
  for (const host of reduced) {
    const values = await Promise.all(buckets.map(({ name }) => host[name]!.parts[0]!.read()));
    expect(values.map(({ data }) => [...data])).toEqual([
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
  const peerIsDone = reduceGradients(peer!, { buckets, group: groups[1]!, sameParts: true }, () => {}).then(() =>
    events.push('the peer has all'),
  );
  const slow: PhaseRun = {
    advance: () => expect.fail('buckets stay where they are'),
    keep: async (inputs, outputs) => {
      if (outputs[0] === buckets[2]?.name) await until(() => groups[0]!.stats.bytesSent > 0);
      events.push(`${outputs} is computed`);
      return run!.keep(inputs, outputs);
    },
    abandon: () => run!.abandon(),
  };
  await reduceGradients(slow, { buckets, group: groups[0]!, sameParts: true }, () => events.push('all is computed'));
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
    advance: () => expect.fail('buckets stay where they are'),
    keep: async (inputs, outputs) => {
      if (outputs[0] === buckets[1]?.name) await groups[1]!.close();
      return run.keep(inputs, outputs);
    },
    abandon: async () => {
      abandoned = true;
      await run.abandon();
    },
  };
  const reduction = { buckets, group: groups[0]!, sameParts: true };
  await expect(reduceGradients(watched, reduction, () => {})).rejects.toMatchObject({ code: 'unavailable' });
  expect(abandoned).toBe(true);
  await groups[0]!.close();
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A run whose buckets lie on two devices each; notes what is read and written. */
function onDevices(scale: number, events: string[]): PhaseRun {
  const keep = async (_: PhaseInputs, [name = '']: readonly string[]): Promise<Record<string, ResidentTensor>> => {
    const spec = { shape: [2], dtype: 'float32' } as const;
    const parts = [0, 1].map((device): ResidentPart => {
      const memory = Float32Array.of(scale * (device + 1));
      return {
        box: { begin: [device], size: [1] },
        hostBytes: 4,
        read: async () => {
          events.push(`read ${name}.${device}`);
          return { spec, data: memory, dispose: () => {} };
        },
        write: async ({ data }) => void events.push(`write ${name}.${device}: ${data[0]}`),
      };
    });
    return { [name]: { spec, parts, dispose: () => {} } };
  };
  return { advance: () => expect.fail('buckets stay where they are'), keep, abandon: async () => {} };
}

test('every shard of a bucket goes around the ring by itself and back into its place', async () => {
  const groups = inMemoryRing(2);
  const events: string[][] = [[], []];
  const runs = groups.map(({ rank }) => onDevices(10 ** rank, events[rank]!));
  await Promise.all(
    groups.map((group, rank) => reduceGradients(runs[rank]!, { buckets, group, sameParts: true }, () => {})),
  );
  for (const own of events) {
    const names = buckets.flatMap(({ name }) => [0, 1].map((device) => `${name}.${device}`));
    expect(own.filter((each) => each.startsWith('read'))).toEqual(names.map((name) => `read ${name}`));
    expect(own.filter((each) => each.startsWith('write'))).toEqual(
      names.map((name) => `write ${name}: ${name.endsWith('0') ? 11 : 22}`),
    );
  }
  await Promise.all(groups.map((group) => group.close()));
});

test('ranks with other devices find out, and their buckets go around the ring whole', async () => {
  const groups = inMemoryRing(2);
  const events: string[][] = [[], []];
  const cutInTwo = [0, 1].map((part) => ({ begin: [part], size: [1] }));
  const boxes = [cutInTwo, [{ begin: [0], size: [2] }]];
  const same = (executors: readonly (readonly Box[])[]) =>
    Promise.all(groups.map((group, rank) => haveSameParts({ boxesOf: async () => executors[rank]! }, buckets, group)));
  expect(await same([cutInTwo, cutInTwo])).toEqual([true, true]);
  expect(await same(boxes)).toEqual([false, false]);
  const whole = javascriptExecutor({
    ...program,
    phases: {
      backward: {
        inputs: { scale: { shape: [], dtype: 'float32' } },
        run: ({ input }) =>
          Object.fromEntries(buckets.map(({ name }) => [name, tf.mul(tf.tensor([10, 20]), input('scale'))])),
      },
    },
  });
  const runs = [onDevices(1, events[0]!), await whole.begin('backward', { scale: Float32Array.of(1) })];
  const [, second] = await Promise.all(
    groups.map((group, rank) => reduceGradients(runs[rank]!, { buckets, group, sameParts: false }, () => {})),
  );
  expect([...(await second![buckets[0]!.name]!.parts[0]!.read()).data]).toEqual([11, 22]);
  expect(events[0]!.filter((each) => each.startsWith('write bucket/0'))).toEqual([
    'write bucket/0.0: 11',
    'write bucket/0.1: 22',
  ]);
  await Promise.all(groups.map((group) => group.close()));
});

test('buckets in device memory are summed there in their order, whichever is computed first', async () => {
  const groups = inMemoryRing(2);
  const computed = buckets.map(() => deferred());
  const keep = async (_: PhaseInputs, [name = '']: readonly string[]): Promise<Record<string, ResidentTensor>> => {
    const index = buckets.findIndex((bucket) => bucket.name === name);
    const lend: ResidentTensor['lend'] = async (work) => {
      await computed[index]!.promise;
      return work([{ device: 0, address: BigInt(index), elements: 2 }]);
    };
    return { [name]: { spec: { shape: [2], dtype: 'float32' }, parts: [], lend, dispose: () => {} } };
  };
  const run: PhaseRun = { advance: () => expect.fail('buckets stay where they are'), keep, abandon: async () => {} };
  const summed: [string, number][] = [];
  const devices = {
    allReduceSum: async (name: string, [span]: readonly DeviceSpan[]) =>
      void summed.push([name, Number(span!.address)]),
  };
  const done = reduceGradients(run, { buckets, group: groups[0]!, sameParts: true, devices }, () => {});
  for (const each of computed.toReversed()) {
    each.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await done;
  expect(summed).toEqual(buckets.map(({ name }, index) => [name, index]));
  await Promise.all(groups.map((group) => group.close()));
});

test('of a single rank nothing leaves the devices', async () => {
  const [group] = inMemoryRing(1);
  const events: string[] = [];
  const kept = await reduceGradients(onDevices(1, events), { buckets, group: group!, sameParts: true }, () =>
    events.push('all is computed'),
  );
  expect(Object.keys(kept)).toEqual(buckets.map(({ name }) => name));
  expect(events).toEqual(['all is computed']);
  await group!.close();
});
