import { createExecutor } from '@weft/backend-tensorflow';
import type { Precision } from '@weft/config';
import { elementCount, type Program, type TensorSpec, tf } from '@weft/tensor';
import { type Candidate, type CandidateParts, executorOptions } from './candidate.js';

/** Side of the matrices: so large that casts and calls are a few per cent of the product. */
const SIDE: Readonly<Record<Precision, number>> = { fp32: 2048, bf16: 4096 };

/** Floating point operations of one product. */
export function gemmFlops(precision: Precision): number {
  return 2 * SIDE[precision] ** 3;
}

/** One large matrix product a step, through the same engine: the peak that a step's share is measured against. */
export async function openGemm(parts: CandidateParts): Promise<Candidate> {
  await parts.exchangeAddresses(undefined);
  const program = gemmProgram(SIDE[parts.spec.precision]);
  const executor = createExecutor(program, executorOptions(parts));
  for (const [name, { shape }] of Object.entries(program.state)) {
    await executor.writeState({ [name]: new Float32Array(elementCount(shape)).fill(1e-3) });
  }
  return {
    engine: executor.description,
    step: async () => {
      await executor.run('multiply', {});
      return 0;
    },
    close: () => executor.dispose(),
  };
}

function gemmProgram(side: number): Program {
  const square: TensorSpec = { shape: [side, side], dtype: 'float32' };
  return {
    name: 'gemm',
    state: { a: square, b: square, product: square },
    phases: {
      multiply: {
        inputs: {},
        run: ({ read, assign }) => {
          assign('product', tf.matMul(read('a'), read('b')));
          return {};
        },
      },
    },
  };
}
