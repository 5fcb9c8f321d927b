import { inMemoryRing, type ProcessGroup } from '@weft/collectives';
import type { RunConfig } from '@weft/config';
import { LOG_SCALE, pairFeatures } from '@weft/model';
import { type TrainTask, taskOf } from '@weft/tasks';
import { javascriptExecutor, tf } from '@weft/tensor';
import { rankSlice } from '@weft/topology';
import { describe, expect, it } from 'vitest';
import { shareValues } from './shared-values.js';
import { initialiseState } from './state.js';
import { pairsConfig, pairsMicrobatches } from './testing/pairs.js';
import { trainProgram } from './train-program.js';

/** CLIP's loss written down as it stands in the paper, on all pairs at once and differentiated as it is. */
function plainTask(config: RunConfig): TrainTask {
  const { task, model } = config;
  if (task.kind !== 'contrastive') throw new Error('the run is not contrastive');
  return {
    ...taskOf(config),
    shared: undefined,
    forward: ({ batch, parameter }) => {
      const { images_NHWC, tokenIds_NT, isEnd_NT } = batch;
      const pairs = { images_NHWC: images_NHWC!, tokenIds_NT: tokenIds_NT!, isEnd_NT: isEnd_NT! };
      const [image, text] = tf.split(pairFeatures({ model, task }, parameter, pairs), 2, 1);
      const logits = tf.mul(tf.matMul(image!, text!, false, true), tf.exp(parameter(LOG_SCALE)));
      const own = tf.eye(config.microbatchSize);
      const both = tf.add(tf.logSoftmax(logits), tf.transpose(tf.logSoftmax(tf.transpose(logits))));
      const lossSum = tf.mul(tf.sum(tf.mul(both, own)), -0.5) as tf.Scalar;
      return { objective: lossSum, lossSum, stats: tf.zeros([3]) };
    },
  };
}

/** The sums of one rank's gradients over all ranks, by parameter, and the totals. */
async function gradients(config: RunConfig, group: ProcessGroup, task = taskOf(config)) {
  const program = trainProgram(task, config);
  const executor = javascriptExecutor(program);
  await initialiseState(executor, program, 3);
  const own = rankSlice(0, config.globalBatchSize, group.rank, group.worldSize);
  const microbatches = pairsMicrobatches(config, own);
  const shared = task.shared && (await shareValues({ executor, group, shared: task.shared }, microbatches));
  let sums: Record<string, Float32Array> = {};
  for (const [index, microbatch] of microbatches.entries()) {
    const phase = index === 0 ? 'gradients' : 'accumulate';
    const outputs = await executor.run(phase, { ...microbatch, ...shared?.(index), ...sums });
    sums = Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, Float32Array.from(data)]));
  }
  for (const { name } of program.buckets) await group.allReduceSum(sums[name]!);
  await executor.dispose();
  const found = new Map<string, readonly number[]>();
  for (const { name, entries, gradientLength } of program.buckets) {
    const all = [...sums[name]!];
    for (const [i, entry] of entries.entries())
      found.set(entry.name, all.slice(entry.offset, entries[i + 1]?.offset ?? gradientLength));
    if (name === 'bucket/0') found.set('loss', all.slice(gradientLength, gradientLength + 1));
    if (name === 'bucket/0') found.set('stats', all.slice(gradientLength + 2));
  }
  return found;
}

function apartOf(actual: readonly number[], expected: readonly number[]): number {
  return Math.hypot(...expected.map((x, i) => x - (actual[i] ?? Number.NaN))) / Math.hypot(...expected);
}

async function allRanks(config: RunConfig, worldSize: number) {
  const ring = inMemoryRing(worldSize);
  const found = await Promise.all(ring.map((group) => gradients(config, group)));
  for (const group of ring) await group.close();
  return found;
}

describe('loss and gradients of a contrastive task are those of one process with all pairs', () => {
  const whole = pairsConfig({ microbatchSize: 16 });

  it.each([1, 2, 4].flatMap((ranks) => [1, 2, 4].map((microbatches) => [ranks, microbatches] as const)))(
    'with %i ranks of %i microbatches each, to 1e-5',
    async (ranks, microbatches) => {
      const expected = await gradients(whole, inMemoryRing(1)[0]!, plainTask(whole));
      const config = pairsConfig({ microbatchSize: 16 / ranks / microbatches });
      const found = await allRanks(config, ranks);
      expect([...expected.keys()].filter((name) => name.startsWith('vision/')).length).toBeGreaterThan(10);
      for (const [name, values] of expected)
        if (name !== 'stats') expect.soft(apartOf(found[0]!.get(name)!, values), name).toBeLessThan(1e-5);
      expect(found.at(-1)!.get('loss')).toEqual(found[0]!.get('loss'));
    },
  );

  it('also where ranks have different numbers of pairs, and the last microbatch is not full', async () => {
    const odd = pairsConfig({ globalBatchSize: 7, microbatchSize: 7 });
    const expected = await gradients(odd, inMemoryRing(1)[0]!, plainTask(odd));
    const [found] = await allRanks(pairsConfig({ globalBatchSize: 7, microbatchSize: 2 }), 2);
    for (const [name, values] of expected)
      if (name !== 'stats') expect.soft(apartOf(found!.get(name)!, values), name).toBeLessThan(1e-5);
  });

  it('and so are accuracy and scale', async () => {
    const { readStats } = taskOf(whole);
    const measuresOf = async (ranks: number, microbatchSize: number) => {
      const [found] = await allRanks(pairsConfig({ microbatchSize }), ranks);
      return readStats(found!.get('stats')!, 16).measures!;
    };
    const [alone, cut] = [await measuresOf(1, 16), await measuresOf(2, 4)];
    expect(cut.accuracy).toBe(alone.accuracy);
    expect(cut.scale).toBeCloseTo(10, 4);
  });
});
