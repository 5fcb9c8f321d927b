/** The vector instructions that decide how fast products are, by the flags of Linux, the newest last. */
const VECTOR_INSTRUCTIONS = {
  avx: 'AVX',
  avx2: 'AVX2',
  avx512f: 'AVX-512',
  avx512_bf16: 'AVX512_BF16',
  amx_bf16: 'AMX_BF16',
} as const;

/** The instructions that multiply bf16. */
const BF16_INSTRUCTIONS = ['AVX512_BF16', 'AMX_BF16'] as const;

export type VectorInstructions = (typeof VECTOR_INSTRUCTIONS)[keyof typeof VECTOR_INSTRUCTIONS];

/**
 * The vector instructions of a processor. Where its cores differ, those that all of them have.
 *
 * @param cpuinfo the text of Linux's /proc/cpuinfo; empty where there is none, which has no known instructions
 */
export function vectorInstructions(cpuinfo: string): readonly VectorInstructions[] {
  const cores = [...cpuinfo.matchAll(/^flags\s*:(.*)$/gm)].map(([, flags = '']) => new Set(flags.trim().split(/\s+/)));
  return Object.entries(VECTOR_INSTRUCTIONS)
    .filter(([flag]) => cores.length > 0 && cores.every((flags) => flags.has(flag)))
    .map(([, name]) => name);
}

/** Those of the instructions that multiply bf16; a processor without any emulates it, which is slower than fp32. */
export function bf16Instructions(instructions: readonly VectorInstructions[]): readonly VectorInstructions[] {
  return instructions.filter((name) => BF16_INSTRUCTIONS.some((each) => each === name));
}
