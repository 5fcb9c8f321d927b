import { GEMM_SIDE, gemmProgram } from '@weft/backend-tensorflow';
import type { Precision } from '@weft/config';
import { elementCount } from '@weft/tensor';
import { type Candidate, type CandidateParts, openEngine } from './candidate.js';
import type { CandidateSpec } from './candidate-spec.js';
import { noise } from './fixture.js';

/** Side of the matrices: so large that casts and calls are a few per cent of the product. */
const SIDE = { cpu: GEMM_SIDE, gpu: { fp32: 4096, bf16: 8192 } } as const satisfies Record<
  CandidateSpec['device'],
  Record<Precision, number>
>;

/** Products of one step, each of the one before: GPUs are so fast that a single one would be half casts. */
const PRODUCTS = { cpu: 1, gpu: 8 } as const;

/** Floating point operations of one step. */
export function gemmFlops(precision: Precision, device: CandidateSpec['device'] = 'cpu'): number {
  return PRODUCTS[device] * 2 * SIDE[device][precision] ** 3;
}

/** Large matrix products through the same engine: the peak that a training step's share is measured against. */
export async function openGemm(parts: CandidateParts): Promise<Candidate> {
  await parts.exchangeAddresses(undefined);
  const { device, precision } = parts.spec;
  const side = SIDE[device][precision];
  const program = gemmProgram(side, PRODUCTS[device]);
  const engine = openEngine(parts, program);
  const { executor } = engine;
  for (const [name, { shape }] of Object.entries(program.state)) {
    // On zeros and constants chips run faster than on numbers; this scale keeps those of products in range.
    await executor.writeState({ [name]: noise(elementCount(shape), name, 1 / Math.sqrt(side)) });
  }
  return {
    engine,
    step: async () => {
      // Reading an element waits for the product; a device computes on while nobody does.
      const { corner } = await executor.run('multiply', {});
      corner?.dispose();
      return 0;
    },
    close: () => executor.dispose(),
  };
}
