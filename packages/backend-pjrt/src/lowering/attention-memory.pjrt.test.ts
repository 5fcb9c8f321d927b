import { afterAll, beforeAll, expect, test } from 'vitest';
import { readChip } from '../ahead/chips.js';
import { moduleFacts } from '../ahead/collectives.js';
import { readHloModule } from '../ahead/hlo-module.js';
import { loadPlugin } from '../native/plugin.js';
import { Topology } from '../native/topology.js';
import type { Compiler } from '../setup/compiler.js';
import { compilerForTests } from '../testing/compiler.js';
import { ATTENTION } from './attention.js';
import { type AttentionLowering, Builder } from './builder.js';
import type { LoweredOp } from './lowering.js';
import { typeOf, type Value } from './value.js';

// Compiled for an H100 that is not there.
let compiler: Compiler | undefined;
let topology: Topology | undefined;
beforeAll(async () => {
  compiler = await compilerForTests();
  if (compiler === undefined) return;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  const { targetConfig } = readChip('h100');
  topology = new Topology(loadPlugin(compiler.path), { targetConfig, hosts: 1, gpusPerHost: 1 });
}, 600_000);
afterAll(() => topology?.close());

/** 24 query heads over 8 of keys and values, 128 wide, one packed sequence. */
const [H, J, C] = [24, 8, 128];

/** Causal attention over packed segments, and its gradient. */
function attentionText(length: number, attention: AttentionLowering): string {
  const builder = new Builder({ attention });
  const heads = (index: number, count: number): Value => {
    return { name: `%arg${index}`, shape: [1, length, count, C], dtype: 'bfloat16' };
  };
  const [q, k, v, dRead] = [heads(0, H), heads(1, J), heads(2, J), heads(3, H)];
  const segments: Value = { name: '%arg4', shape: [1, length], dtype: 'float32' };
  const op: LoweredOp = {
    attrs: { causal: { kind: 'bool', value: true }, scale: { kind: 'float', value: 1 / Math.sqrt(C) } },
    after: [],
  };
  const forward = [ATTENTION.Attention(builder, [q, k, v, segments], op)].flat();
  const results = [
    forward[0] as Value,
    ATTENTION.AttentionGrad(builder, [q, k, v, ...forward, dRead, segments], op),
  ].flat();
  const parameters = [q, k, v, dRead, segments].map((value) => `${value.name}: ${typeOf(value)}`);
  const types = results.map(typeOf).join(', ');
  return [
    'module @attention {',
    `func.func public @main(${parameters.join(', ')}) -> (${types}) {`,
    ...builder.lines,
    `return ${results.map(({ name }) => name).join(', ')} : ${types}`,
    '}}',
  ].join('\n');
}

test.for(['blockwise', 'fused'] as const)(
  'memory of %s attention grows with the sequence, not its square',
  { timeout: 120_000 },
  async (attention, context) => {
    if (topology === undefined || compiler === undefined) return context.skip();
    const temporaries: number[] = [];
    for (const length of [1024, 4096, 8192]) {
      const { cudaDirectory } = compiler;
      const options = { cudaDirectory, flags: { xla_gpu_autotune_level: 0 } };
      const compiled = await topology.compile(attentionText(length, attention), options);
      const { fusedAttentionCalls } = moduleFacts(readHloModule(compiled.optimizedProgram()));
      expect(fusedAttentionCalls).toBe(attention === 'fused' ? 2 : 0);
      temporaries.push(compiled.memory.temporaries);
      compiled.free();
    }
    const [short = 0, middle = 0, long = 0] = temporaries;
    // Of what grew with the square, a position of the later half would take 2.4 times as much.
    const [earlier, later] = [(middle - short) / 3072, (long - middle) / 4096];
    expect(later / earlier).toBeLessThan(1.6);
    expect(long).toBeLessThan(400e6);
  },
);
