import { DataPlane, type WorkerLinks } from '@weft/collectives';
import { Random } from '@weft/common';
import { resolveRunConfig } from '@weft/config';
import { type Executor, elementCount, javascriptExecutor } from '@weft/tensor';
import { expertMoves, expertTargets, placeExperts, type Range } from '@weft/topology';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { initialiseState } from '../state.js';
import { ExpertCopies } from './expert-copies.js';
import { type ExpertProgram, expertProgram, gradientOf } from './expert-program.js';
import { beginSendingExperts, takeExperts } from './move-experts.js';

const config = resolveRunConfig({
  steps: 4,
  globalBatchSize: 2,
  microbatchSize: 1,
  model: {
    sequenceLength: 16,
    vision: { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 2, feedForwardWidth: 8 },
    connector: { tokensPerImage: 4 },
    decoder: { width: 6, depth: 2, heads: 1, feedForwardWidth: 10, moe: { experts: 4, everyLayers: 1 } },
  },
  data: { directory: 'none' },
  optimizer: { learningRate: 1e-2, warmupSteps: 0 },
});
const decision = { apply: true, gradNorm: 3, lossTokens: 5 };

interface Engine {
  readonly experts: Range;
  readonly program: ExpertProgram;
  readonly executor: Executor;
}

let planes: DataPlane[] = [];
let opened: (Executor | WorkerLinks)[] = [];
beforeEach(async () => {
  planes = await Promise.all([DataPlane.listen(), DataPlane.listen()]);
});
afterEach(async () => {
  for (const each of opened) await ('dispose' in each ? each.dispose() : each.close());
  opened = [];
  await Promise.all(planes.map((plane) => plane.close()));
});

async function engine(first: number, end: number, seed?: number): Promise<Engine> {
  const program = expertProgram(config, { first, end });
  const executor = javascriptExecutor(program);
  opened.push(executor);
  if (seed !== undefined) await initialiseState(executor, program, seed);
  return { experts: { first, end }, program, executor };
}

/** The links of two expert workers, each of which sends to the other. */
async function linked(): Promise<readonly WorkerLinks[]> {
  const links = await Promise.all(
    planes.map((plane, expertWorker) =>
      plane.linkExperts({
        ...{ runId: 'r', generation: 1, expertWorker, token: 't', timeoutMs: 20_000 },
        addresses: planes.map(({ address }) => address),
        receivers: [1 - expertWorker],
        senders: [1 - expertWorker],
      }),
    ),
  );
  opened.push(...links);
  return links;
}

async function fillGradients({ executor, program }: Engine, seed: number): Promise<void> {
  const random = Random.of('gradients', seed);
  const values = program.parameters.map(({ name, shape }) => {
    return [gradientOf(name), Float32Array.from({ length: elementCount(shape) }, () => random.normal())] as const;
  });
  await executor.writeState(Object.fromEntries(values));
}

const apply = ({ executor }: Engine, step: number) =>
  executor.run('apply', {
    gradNorm: new Float32Array([decision.gradNorm]),
    lossTokens: new Float32Array([decision.lossTokens]),
    step: new Float32Array([step]),
  });

/** Weights and moments of some experts, by name. */
async function stateOf({ executor, program, experts }: Engine, { first, end }: Range) {
  const names = program.layout.tensors.map(({ name }) => name);
  const values = await executor.readState(names);
  return program.layout.tensors.map(({ name, shape }) => {
    const each = elementCount(shape) / (experts.end - experts.first);
    return [name, values[name]?.data.slice((first - experts.first) * each, (end - experts.first) * each)];
  });
}

test('a copy has the bits of the experts after every step, whether it was applied or not', async () => {
  const [first, second] = await linked();
  const own = await engine(0, 2, 1);
  const copy = await engine(0, 2, 1);
  const owner = new ExpertCopies({ own: { ...own, link: first!.to(1) }, copy: undefined, firstStep: 4 });
  const holder = new ExpertCopies({ own: undefined, copy: { ...copy, link: second!.from(0) }, firstStep: 4 });
  const before = await stateOf(own, own.experts);
  for (const step of [4, 5, 6]) {
    await fillGradients(own, step);
    await owner.ship(step);
    const isApplied = step !== 5;
    if (isApplied) await apply(own, step);
    await holder.apply(step, { ...decision, apply: isApplied });
    expect(await stateOf(copy, copy.experts)).toEqual(await stateOf(own, own.experts));
  }
  expect(await stateOf(own, own.experts)).not.toEqual(before);
});

test('gradients that were not decided about change no copy', async () => {
  const [first, second] = await linked();
  const own = await engine(0, 2, 1);
  const copy = await engine(0, 2, 1);
  const owner = new ExpertCopies({ own: { ...own, link: first!.to(1) }, copy: undefined, firstStep: 1 });
  const holder = new ExpertCopies({ own: undefined, copy: { ...copy, link: second!.from(0) }, firstStep: 1 });
  const before = await stateOf(copy, copy.experts);
  await fillGradients(own, 1);
  await owner.ship(1);
  first!.close();
  expect(await stateOf(copy, copy.experts)).toEqual(before);
  // It was decided after all, and the owner is gone.
  await holder.apply(1, decision);
  await apply(own, 1);
  expect(await stateOf(copy, copy.experts)).toEqual(await stateOf(own, own.experts));
});

test('experts of one worker are dealt out to two, and each gets a copy of the other’s', async () => {
  const links = await linked();
  const all = await engine(0, 4, 1);
  await fillGradients(all, 1);
  await apply(all, 1);
  const targets = expertTargets(placeExperts(4, 2), [1, 0]);
  const moves = expertMoves({ placement: placeExperts(4, 1), holders: [[0]] }, targets);
  const workers = await Promise.all([0, 1].map(async () => [await engine(0, 2), await engine(2, 4)]));
  await Promise.all(
    workers.map(async (engines, worker) => {
      const held = worker === 0 ? [all, ...engines] : engines;
      const inMemory = ({ first, end }: Range) =>
        held.find(({ experts }) => experts.first === first && experts.end === end) ?? expect.fail('not held');
      const options = { worker, moves, inMemory, links: links[worker]! };
      await beginSendingExperts(options);
      await takeExperts(options);
    }),
  );
  for (const engines of workers)
    for (const each of engines) expect(await stateOf(each, each.experts)).toEqual(await stateOf(all, each.experts));
});
