import { describe, expect, it } from 'vitest';
import { bf16Instructions, vectorInstructions } from './processor.js';

// The flags that matter of each, among others, as /proc/cpuinfo writes them.
const PROCESSORS = {
  // AMD EPYC 7B12 (Zen 2)
  avx2Only: 'fpu sse4_1 sse4_2 movbe avx f16c rdrand avx2 bmi2 rdseed adx clflushopt sha_ni',
  // Intel Xeon of Cascade Lake
  avx512: 'fpu sse4_2 avx f16c avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni md_clear',
  // AMD EPYC of Zen 5
  zen5: 'fpu sse4_2 avx f16c avx2 avx512f avx512dq avx512ifma avx512bw avx512vl avx_vnni avx512_bf16 avx512_vnni',
  // Intel Xeon of Sapphire Rapids
  sapphireRapids:
    'fpu avx f16c avx2 avx512f avx512bw avx512vl avx_vnni avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8',
};

const cpuinfo = (...cores: readonly string[]) =>
  cores
    .map((flags, core) => `processor\t: ${core}\nmodel name\t: some\nflags\t\t: ${flags}\nbugs\t\t: avx512_bf16\n`)
    .join('\n');

const instructionsOf = (flags: string) => vectorInstructions(cpuinfo(flags, flags));

describe('the vector instructions of a processor', () => {
  it('are read from its flags', () => {
    expect(instructionsOf(PROCESSORS.avx2Only)).toEqual(['AVX', 'AVX2']);
    expect(instructionsOf(PROCESSORS.avx512)).toEqual(['AVX', 'AVX2', 'AVX-512']);
    expect(instructionsOf(PROCESSORS.zen5)).toEqual(['AVX', 'AVX2', 'AVX-512', 'AVX512_BF16']);
    expect(instructionsOf(PROCESSORS.sapphireRapids)).toEqual(['AVX', 'AVX2', 'AVX-512', 'AVX512_BF16', 'AMX_BF16']);
  });

  it('are those that all its cores have', () => {
    expect(vectorInstructions(cpuinfo(PROCESSORS.zen5, PROCESSORS.avx2Only))).toEqual(['AVX', 'AVX2']);
  });

  it('are unknown without flags', () => {
    expect(vectorInstructions('')).toEqual([]);
    expect(vectorInstructions('processor : 0\nFeatures : fp asimd bf16\n')).toEqual([]);
  });

  it('multiply bf16 on Zen 5 and Sapphire Rapids only', () => {
    const bf16Of = (flags: string) => bf16Instructions(instructionsOf(flags));
    expect(bf16Of(PROCESSORS.avx2Only)).toEqual([]);
    expect(bf16Of(PROCESSORS.avx512)).toEqual([]);
    expect(bf16Of(PROCESSORS.zen5)).toEqual(['AVX512_BF16']);
    expect(bf16Of(PROCESSORS.sapphireRapids)).toEqual(['AVX512_BF16', 'AMX_BF16']);
  });
});
