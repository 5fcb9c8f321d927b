import { type Program, tf } from '@weft/tensor';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadPlugin } from '../native/plugin.js';
import { Topology } from '../native/topology.js';
import type { Compiler } from '../setup/compiler.js';
import { compilerForTests } from '../testing/compiler.js';
import { readChip } from './chips.js';
import { moduleFacts } from './collectives.js';
import { compileAhead } from './compile-ahead.js';
import { readHloModule } from './hlo-module.js';

// No test here needs a GPU, and none has one.
const chip = readChip('h100');
let compiler: Compiler | undefined;
let topology: Topology | undefined;
beforeAll(async () => {
  compiler = await compilerForTests();
  if (compiler === undefined) return;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  const { targetConfig } = chip;
  topology = new Topology(loadPlugin(compiler.path), { targetConfig, hosts: 2, gpusPerHost: 4 });
}, 600_000);
afterAll(() => topology?.close());

/** A weight cut over the devices along its rows, and a batch of 8 rows of which each device has one. */
const GATHERED = `module @gathered {
sdy.mesh @mesh = <["fsdp"=8]>
func.func public @main(
  %x: tensor<8x512xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"fsdp"}, {}]>},
  %w: tensor<512x256xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"fsdp"}, {}]>}
) -> (tensor<8x256xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"fsdp"}, {}]>}) {
  %0 = sdy.sharding_constraint %w <@mesh, [{}, {}]> : tensor<512x256xf32>
  %1 = stablehlo.dot_general %x, %0, contracting_dims = [1] x [0] : (tensor<8x512xf32>, tensor<512x256xf32>) -> tensor<8x256xf32>
  return %1 : tensor<8x256xf32>
}
}`;

test('a program cut over eight absent GPUs tells the bytes of one of them, and what it sends', async (context) => {
  if (topology === undefined || compiler === undefined) return context.skip();
  const { cudaDirectory } = compiler;
  const options = { cudaDirectory, partitions: 8, flags: { xla_gpu_autotune_level: 0 } };
  expect(topology.deviceCount).toBe(8);
  const compiled = await topology.compile(GATHERED, options);
  const [row, shard] = [512 * 4, (512 * 256 * 4) / 8];
  expect(compiled.memory).toMatchObject({ arguments: row + shard, outputs: 256 * 4, aliases: 0 });
  const facts = moduleFacts(readHloModule(compiled.optimizedProgram()));
  const { collectives, fusedAttentionCalls, gatheredBytes } = facts;
  expect(collectives).toEqual([{ kind: 'all-gather', count: 1, bytes: 8 * shard }]);
  expect(gatheredBytes).toBe(8 * shard);
  expect(fusedAttentionCalls).toBe(0);
  compiled.free();
  expect(() => compiled.memory).toThrow(/after it was freed/);
  await expect(topology.compile('module {', options)).rejects.toThrow(/PJRT_Compile: /);
});

const ONE = { fsdp: 1, tensor: 1, expert: 1 };

const program: Program = {
  name: 'test',
  state: { w: { shape: [256, 128], dtype: 'float32' } },
  phases: {
    update: {
      inputs: { x: { shape: [64, 256], dtype: 'float32' } },
      run: (context) => {
        const product = tf.matMul(context.input('x'), context.read('w'));
        context.assign('w', tf.add(context.read('w'), tf.sum(product)));
        return { product };
      },
    },
  },
};

test('a phase is recorded, lowered and compiled, without TensorFlow', async (context) => {
  const found = compiler;
  if (found === undefined) return context.skip();
  const told: boolean[] = [];
  const { mesh, phases } = await compileAhead(program, {
    ...{
      chip,
      hosts: 1,
      gpusPerHost: 1,
      phases: ['update'],
      mesh: ONE,
      precision: 'bf16',
      recompute: 'none',
      compiler: async () => found,
    },
    onCompile: ({ isDone }) => told.push(isDone),
  });
  expect(told.at(0)).toBe(false);
  expect(told.at(-1)).toBe(true);
  expect(mesh).toEqual(ONE);
  expect(phases).toMatchObject([
    {
      phase: 'update',
      memory: { arguments: (64 * 256 + 256 * 128) * 4, aliases: 256 * 128 * 4 },
      flops: 2 * 64 * 256 * 128,
      collectives: [],
    },
  ]);
});
