import {
  type AheadPhase,
  type AheadProgram,
  compileAhead,
  findCompiler,
  installCompiler,
  type Mesh,
  readChip,
} from '@weft/backend-pjrt';
import { WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import { elementCount, type TensorSpec } from '@weft/tensor';
import { beforeAll, describe, expect, test } from 'vitest';
import { type TrainProgram, trainProgram } from './train-program.js';

// What XLA makes of the paper's training steps, with few layers of full width, for H100s that are not there.
beforeAll(async () => {
  try {
    await installCompiler();
  } catch (thrown) {
    process.stderr.write(`not compiled for GPUs: ${WeftError.from(thrown).message}\n`);
  }
}, 600_000);

/** One layer of encoder and connector, two sequences of one image a device. */
function shallow(name: Parameters<typeof recipe>[0], depth: number): RunConfig {
  const config = recipe(name);
  const { vision, connector, decoder } = config.model;
  return resolveRunConfig({
    ...config,
    expertWorkers: 0,
    microbatchSize: 8,
    activationCheckpointing: 'full',
    data: { ...config.data, imagesPerSequence: 1 },
    engine: { ...config.engine, backend: 'pjrt' },
    model: {
      ...config.model,
      vision: { ...vision, depth: 1 },
      connector: { ...connector, depth: 1 },
      decoder: { ...decoder, depth },
    },
  });
}

interface Compiled extends AheadProgram {
  readonly program: TrainProgram;
}

async function compiledFor(mesh: Mesh, config: RunConfig): Promise<Compiled | undefined> {
  const compiler = findCompiler();
  if (compiler === undefined) return undefined;
  const program = trainProgram(taskOf(config), config, { layout: 'separate' });
  const compiled = await compileAhead(program, {
    chip: readChip('h100'),
    hosts: 1,
    gpusPerHost: 8,
    phases: ['gradients', 'apply'],
    mesh,
    precision: 'bf16',
    recompute: 'full',
    compiler: async () => compiler,
  });
  return { ...compiled, program };
}

/** What the 8 devices divide of arrays that lie in this way. */
const isCut = ({ axes = [] }: Pick<TensorSpec, 'axes'>) => axes.includes('embed') || axes.includes('expert');
const bytesOf = (specs: readonly TensorSpec[]) => specs.reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0);

/** That state is cut, and that gradients of matrices leave by reduce-scatter in float32, each once. */
function expectShares({ program, phases }: Compiled): void {
  const [gradients, apply] = phases;
  const state = Object.values(program.state);
  const share = bytesOf(state.filter(isCut)) / 8 + bytesOf(state.filter((spec) => !isCut(spec)));
  expect(apply?.memory.aliases).toBe(share);
  const matrices = program.parameters.filter(isCut).map(({ name, shape, axes }) => ({ name, shape, axes }));
  // Rows of the embedding are added up where their features lie. A stack of experts is there in parts already.
  const scattered = matrices.filter(({ name, axes }) => name !== 'decoder/embedding' && !axes?.includes('expert'));
  const bytes = bytesOf(scattered.map(({ shape }) => ({ shape, dtype: 'float32' })));
  expect(movedBytes(gradients, 'reduce-scatter')).toBeGreaterThanOrEqual(0.98 * bytes);
}

function movedBytes(phase: AheadPhase | undefined, kind: string): number {
  return phase?.collectives.find((each) => each.kind === kind)?.bytes ?? 0;
}

describe('a training step compiled for 8 × H100', () => {
  test('gathers block by block, scatters gradients in float32, and holds its share of the state', async (context) => {
    const depth = 4;
    const compiled = await compiledFor({ expert: 1, fsdp: 8, tensor: 1 }, shallow('mm1-3b', depth));
    if (compiled === undefined) return context.skip();
    expectShares(compiled);
    const [gradients] = compiled.phases;
    // Whole gradients are those of norms and biases.
    expect(movedBytes(gradients, 'all-reduce')).toBeLessThan(4e6);
    const { width, feedForwardWidth, vocabularySize } = recipe('mm1-3b').model.decoder;
    const block = 2 * (4 * width ** 2 + 3 * width * feedForwardWidth);
    // One is used while the next is on its way, and the head stands at the end. All at once would be more.
    expect(gradients?.gatheredBytes).toBeLessThan(2.5 * block + 2 * width * vocabularySize);
    // Of every block of decoder and encoder: forward, forward again, backward.
    expect(gradients?.fusedAttentionCalls).toBe(3 * (depth + 1));
  });

  test('does so with experts, whose axis cuts all other state as well', async (context) => {
    const compiled = await compiledFor({ expert: 4, fsdp: 2, tensor: 1 }, shallow('mm1-3b-moe-64e', 2));
    if (compiled === undefined) return context.skip();
    expectShares(compiled);
    const [gradients] = compiled.phases;
    expect(gradients?.fusedAttentionCalls).toBe(3 * (2 + 1));
  });
});
