import { inMemoryExchange } from '@weft/collectives';
import { resolveRunConfig } from '@weft/config';
import { moeLayerIndices, moeShape } from '@weft/model';
import { type Executor, javascriptExecutor } from '@weft/tensor';
import { waitFor } from '@weft/testing';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { CheckpointSaver, expertShare } from '../checkpoint-saver.js';
import type { ExpertDecision, GenerationPlan } from '../ports.js';
import { initialiseState } from '../state.js';
import { exchangeShape } from './exchange-plan.js';
import { expertProgram } from './expert-program.js';
import { type ExpertStepResult, serveExperts } from './expert-server.js';

const config = resolveRunConfig({
  steps: 4,
  workers: 2,
  expertWorkers: 1,
  globalBatchSize: 2,
  microbatchSize: 1,
  model: {
    sequenceLength: 8,
    vision: { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 2, feedForwardWidth: 8 },
    connector: { tokensPerImage: 4 },
    decoder: { width: 4, depth: 2, heads: 1, feedForwardWidth: 4, moe: { experts: 2, everyLayers: 2 } },
  },
  data: { directory: 'none' },
  optimizer: { learningRate: 1e-2, warmupSteps: 0 },
});
const shape = exchangeShape(config, 1);
const { slots } = moeShape(config.model, config.microbatchSize);
const [layer = 0] = moeLayerIndices(config.model.decoder);
const program = expertProgram(config, shape.placement[0]!);
const decided: ExpertDecision = { apply: true, gradNorm: 1, lossTokens: 5 };
const plan: GenerationPlan = {
  generation: 1,
  rank: 0,
  worldSize: 2,
  expertWorkers: 1,
  firstStep: 1,
  state: { kind: 'fresh' },
};

let executor: Executor;
const executors: Executor[] = [];
beforeEach(async () => {
  executor = javascriptExecutor(program);
  executors.push(executor);
  await initialiseState(executor, program, 3);
});
afterAll(async () => {
  for (const each of executors) await each.dispose();
});

/** An expert worker that serves two ranks; the test is the coordinator. */
function openServer(rankTimeoutMs = 60_000) {
  const exchange = inMemoryExchange({ worldSize: 2, shape });
  const [host] = exchange.hosts;
  const steps: ExpertStepResult[] = [];
  let decide: (decision: ExpertDecision) => void = () => {};
  let release: (reason: Error) => void = () => {};
  const decision = () =>
    new Promise<ExpertDecision>((resolve, reject) => {
      decide = resolve;
      release = reject;
    });
  const outcome = serveExperts({
    config,
    program,
    executor,
    host: host!,
    coordinator: { decision, checkpointPart: () => {} },
    plan,
    signals: { released: new AbortController().signal, stop: { afterStep: undefined } },
    saver: new CheckpointSaver({ executor, layout: program.layout, runDirectory: 'none', share: expertShare }),
    onStep: (result) => void steps.push(result),
    rankTimeoutMs,
  }).then(
    () => 'ended',
    (thrown: unknown) => String(thrown),
  );
  const { ranks } = exchange;
  return { ranks, steps, outcome, decide: () => decide(decided), release: () => release(new Error('released')) };
}

/** The ranks send their microbatch forwards and back, and get the norm: now they can vote. */
async function computeUntilVote({ ranks }: Pick<ReturnType<typeof openServer>, 'ranks'>, step: number): Promise<void> {
  const length = 2 * slots * config.model.decoder.width;
  const rows = () => ({
    tokensPerExpert_EG: Int32Array.of(1, 1),
    rows_ECD: new Float32Array(length).fill(0.5),
    answer_ECD: new Float32Array(length),
  });
  await Promise.all(
    ranks.map(async (rank) => {
      for (const direction of ['forward', 'backward'] as const)
        await rank.exchange({ direction, step, microbatch: 0, layer }, rows());
      expect(await rank.squaredNorms(step)).toHaveLength(1);
    }),
  );
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

/** Rejections that nothing caught, which would end the process and lose its experts. */
async function unhandledRejections(act: () => void): Promise<readonly unknown[]> {
  const rejections: unknown[] = [];
  const note = (reason: unknown) => void rejections.push(reason);
  process.on('unhandledRejection', note);
  act();
  await pause();
  process.off('unhandledRejection', note);
  return rejections;
}

test('a rank that is gone after the vote does not keep an expert worker from the decision', async () => {
  const server = openServer();
  await computeUntilVote(server, 1);
  await server.ranks[1]!.close();
  await pause();
  expect(server.steps).toEqual([]);
  server.decide();
  expect(await server.outcome).toContain('rank 1 of run in-memory, generation 1 is gone');
  expect(server.steps).toMatchObject([{ step: 1, applied: true }]);
  expect(await unhandledRejections(server.release)).toEqual([]);
});

test('a rank that is gone before the vote ends the generation', async () => {
  const server = openServer();
  await computeUntilVote(server, 1);
  server.decide();
  await waitFor('the step', () => server.steps.length === 1);
  await server.ranks[0]!.close();
  expect(await server.outcome).toContain('rank 0 of run in-memory, generation 1 is gone');
  expect(server.steps).toHaveLength(1);
  expect(await unhandledRejections(server.release)).toEqual([]);
});

test('a rank that others wait for in vain is named, and the others get the error', async () => {
  const server = openServer(50);
  const waiting = computeUntilVote({ ranks: server.ranks.slice(0, 1) }, 1);
  await expect(waiting).rejects.toThrow(
    'rank 1 brought nothing of step 1, microbatch 0 for 0.05 s while others waited',
  );
  expect(await server.outcome).toContain('rank 1 brought nothing of step 1');
});
