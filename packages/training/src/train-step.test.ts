import { inMemoryRing, type ProcessGroup } from '@weft/collectives';
import { deferred } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { TrainTask } from '@weft/tasks';
import { type Executor, javascriptExecutor } from '@weft/tensor';
import { expect, test } from 'vitest';
import { initialiseState } from './state.js';
import { FakeCoordinator } from './testing/fake-coordinator.js';
import { linearConfig, linearTask } from './testing/linear-task.js';
import { trainProgram } from './train-program.js';
import { trainStep } from './train-step.js';

/** One rank with the linear task on the JavaScript engine, and a note of the phases it runs. */
async function openRank(config: RunConfig, group = inMemoryRing(1)[0]!, task: TrainTask = linearTask({ config })) {
  const program = trainProgram(task, config);
  const executor = javascriptExecutor(program);
  await initialiseState(executor, program, config.seed);
  const phases: string[] = [];
  const noted: Executor = {
    description: executor.description,
    compiles: executor.compiles,
    run: (phase, inputs) => {
      phases.push(phase);
      return executor.run(phase, inputs);
    },
    runResident: (phase, inputs) => {
      phases.push(phase);
      return executor.runResident(phase, inputs);
    },
    begin: (phase, inputs) => {
      phases.push(`begin ${phase}`);
      return executor.begin(phase, inputs);
    },
    deviceCount: () => executor.deviceCount(),
    allocate: () => expect.fail('nothing comes from elsewhere'),
    boxesOf: (spec) => executor.boxesOf(spec),
    prepare: (names) => executor.prepare(names),
    readState: (names) => executor.readState(names),
    copyState: (names) => executor.copyState(names),
    prepareCopy: (names) => executor.prepareCopy(names),
    writeState: (values) => executor.writeState(values),
    fillState: (names, valuesOf) => executor.fillState(names, valuesOf),
    dispose: () => executor.dispose(),
  };
  const coordinator = new FakeCoordinator();
  const data = await task.openData();
  const parts = { config, task, program, executor: noted, loader: data.openLoader(), group, coordinator };
  return { coordinator, phases, step: (step: number) => trainStep(parts, step), state: () => stateOf(executor) };
}

async function stateOf(executor: Executor): Promise<Record<string, readonly number[]>> {
  const tensors = Object.entries(await executor.readState());
  return Object.fromEntries(tensors.map(([name, { data }]) => [name, [...data]]));
}

const config = linearConfig();

test('a step computes its microbatches in order, votes, and applies once it is decided', async () => {
  const rank = await openRank(config);
  const decision = deferred<boolean>();
  rank.coordinator.decide = () => decision.promise;
  const before = await rank.state();
  const step = rank.step(1);
  await expect.poll(() => rank.coordinator.votes.length, { interval: 1 }).toBe(1);
  expect(rank.phases).toEqual(['gradients', 'begin accumulate', 'measure']);
  expect(await rank.state()).toEqual(before);

  decision.resolve(true);
  const { applied, report, vote } = await step;
  expect(rank.phases.at(-1)).toBe('apply');
  expect(applied).toBe(true);
  expect(vote).toMatchObject({ step: 1, finite: true, sequenceDigest: '0-4', lossTokens: 4 });
  expect(report).toMatchObject({ step: 1, moe: undefined });
  expect(report.learningRate).toBeGreaterThan(0);
  expect(await rank.state()).not.toEqual(before);
});

test('a step whose vote is refused applies nothing, and reports the learning rate it would have had', async () => {
  const [rank, other] = [await openRank(config), await openRank(config)];
  rank.coordinator.decide = () => false;
  const before = await rank.state();
  const { applied, report } = await rank.step(2);
  expect(applied).toBe(false);
  expect(rank.phases).not.toContain('apply');
  expect(await rank.state()).toEqual(before);
  expect(report.learningRate).toBeCloseTo((await other.step(2)).report.learningRate, 7);
});

test('gradients that are not finite are voted as such', async () => {
  const target = (point: number, y: number) => (point === 3 ? Number.POSITIVE_INFINITY : y);
  const rank = await openRank(config, undefined, linearTask({ config, target }));
  const { applied, vote } = await rank.step(1);
  expect(vote.finite).toBe(false);
  expect(applied).toBe(false);
});

test('a step without targets has loss and norm 0 and is finite, whatever a mean over nothing would be', async () => {
  const rank = await openRank(config, undefined, linearTask({ config, isTarget: () => false }));
  expect((await rank.step(1)).vote).toMatchObject({ loss: 0, gradNorm: 0, lossTokens: 0, finite: true });
});

test('a norm that is not finite is voted as such, also where the loss is', async () => {
  // The square of the error fits a float32; those of its gradients do not.
  const target = (point: number, y: number) => (point === 3 ? 1.5e19 : y);
  const { vote } = await (await openRank(config, undefined, linearTask({ config, target }))).step(1);
  expect([Number.isFinite(vote.loss), vote.gradNorm, vote.finite]).toEqual([true, Number.POSITIVE_INFINITY, false]);
});

test('two ranks see the loss, norm and update of the whole batch, as one rank does', async () => {
  const alone = await openRank(config);
  const ring = inMemoryRing(2);
  const ranks = await Promise.all(ring.map((group) => openRank(config, group)));
  for (const step of [1, 2, 3]) {
    const expected = await alone.step(step);
    const results = await Promise.all(ranks.map((rank) => rank.step(step)));
    expect(results[1]!.vote).toEqual({
      ...results[0]!.vote,
      communicationSeconds: expect.any(Number),
      dataSeconds: expect.any(Number),
      computeSeconds: expect.any(Number),
      applySecondsBefore: expect.any(Number),
      sequenceDigest: results[1]!.vote.sequenceDigest,
    });
    for (const { vote } of results) {
      expect(vote.loss).toBeCloseTo(expected.vote.loss, 5);
      expect(vote.gradNorm).toBeCloseTo(expected.vote.gradNorm, 5);
      expect(vote.lossTokens).toBe(4);
    }
  }
  const [first, second] = await Promise.all(ranks.map((rank) => rank.state()));
  expect(second).toEqual(first);
  for (const [name, values] of Object.entries(await alone.state()))
    for (const [i, value] of values.entries()) expect(first![name]![i]).toBeCloseTo(value, 5);
  for (const group of ring) await group.close();
});

test('the statistics of the task are those of the whole batch', async () => {
  const seen: number[][] = [];
  const counting: TrainTask = {
    ...linearTask({ config, target: (point) => (point < 3 ? 1e6 : -1e6) }),
    readStats: (sums, lossTokens) => {
      seen.push([...Array.from(sums), lossTokens]);
      return { moeLayers: [] };
    },
  };
  const ring = inMemoryRing(2);
  const ranks = await Promise.all(ring.map((group) => openRank(config, group, counting)));
  await Promise.all(ranks.map((rank) => rank.step(1)));
  // Three of the four points are predicted too low.
  expect(seen).toEqual([
    [3, 4],
    [3, 4],
  ]);
  for (const group of ring) await group.close();
});

test('a ring that breaks before the vote ends the step without a vote', async () => {
  const broken = new Error('rank 1 is gone');
  const [real] = inMemoryRing(1) as [ProcessGroup];
  const group: ProcessGroup = { ...real, rank: 0, worldSize: 2, allReduceSum: () => Promise.reject(broken) };
  const rank = await openRank(config, group);
  const before = await rank.state();
  await expect(rank.step(1)).rejects.toBe(broken);
  expect(rank.coordinator.votes).toEqual([]);
  expect(await rank.state()).toEqual(before);
});
