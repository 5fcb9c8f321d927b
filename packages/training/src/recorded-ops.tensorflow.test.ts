import { tensorflowShapes } from '@weft/backend-tensorflow';
import { resolveRunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import { OP_FAMILIES, type Program, type RecordedOp, recordPhase, rewrite } from '@weft/tensor';
import { expect, test } from 'vitest';
import { expertProgram } from './moe/expert-program.js';
import { trainProgram } from './train-program.js';

const { rewritten: byPasses, custom, ...families } = OP_FAMILIES;

/** Every model that Weft trains, small: dense and MoE, with and without noise, experts in this process and in others. */
function programs(): Program[] {
  const [dense, moe] = [recipe('debugTiny'), recipe('moeTiny')];
  const { decoder } = moe.model;
  const noisy = { ...moe.model, decoder: { ...decoder, moe: { ...decoder.moe!, jitter: 0.01 } } };
  const remote = resolveRunConfig({ ...moe, model: noisy, expertWorkers: 1 });
  const trained = [dense, moe, remote].map((config) => trainProgram(taskOf(config), config));
  return [...trained, expertProgram(remote, { first: 0, end: 2 })];
}

function withBodies(ops: readonly RecordedOp[]): RecordedOp[] {
  return ops.flatMap((op) => [op, ...withBodies(op.body?.ops ?? [])]);
}

test('recordings of our models hold the listed ops, all of them, and no others', () => {
  const recorded = new Set<string>();
  const rewritten = new Set<string>();
  for (const program of programs()) {
    for (const phase of Object.keys(program.phases)) {
      const shapes = tensorflowShapes();
      const recording = recordPhase(shapes, program, phase);
      shapes.dispose();
      for (const { type } of recording.ops) recorded.add(type);
      const { ops } = rewrite(recording, { precision: 'bf16', recompute: 'full', hasLoops: true });
      for (const { type } of withBodies(ops)) rewritten.add(type);
    }
  }
  const listed = [...Object.values(families), custom].flatMap((ops) => Object.keys(ops));
  // No model of ours takes a tanh so far, and masks are written by `expandAttention`.
  const ofMasks = ['LessEqual', 'LogicalAnd'];
  const absent = ['Tanh', ...ofMasks];
  expect([...recorded].toSorted()).toEqual(listed.filter((type) => !absent.includes(type)).toSorted());
  const made = [...rewritten].filter((type) => !recorded.has(type));
  expect(made.toSorted()).toEqual([...Object.keys(byPasses), ...ofMasks].toSorted());
}, 120_000);

test('nothing of a frozen encoder is differentiated', () => {
  const tiny = recipe('debugTiny');
  const { vision, decoder } = tiny.model;
  const differentiated = (learningRateFactors: Readonly<Record<string, number>>) => {
    const config = resolveRunConfig({ ...tiny, optimizer: { ...tiny.optimizer, learningRateFactors } });
    const shapes = tensorflowShapes();
    const { ops } = recordPhase(shapes, trainProgram(taskOf(config), config), 'gradients');
    shapes.dispose();
    return ops.filter(({ type }) => type === 'AttentionGrad').length;
  };
  expect(differentiated({})).toBe(vision.depth + decoder.depth);
  expect(differentiated({ vision: 0 })).toBe(decoder.depth);
  // What lies behind the first trained layer is needed for its gradient.
  expect(differentiated({ vision: 0, 'vision/layers/1': 1 })).toBe(1 + decoder.depth);
}, 120_000);
