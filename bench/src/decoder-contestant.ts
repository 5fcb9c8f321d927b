import { createExecutor } from '@weft/engine';
import { type Contestant, type ContestantParts, executorOptions } from './contestant.js';
import { decoderProgram } from './decoder-program.js';
import { loadBatch, loadWeights } from './load-fixture.js';

/** The decoder alone in one process. */
export async function openDecoder(parts: ContestantParts): Promise<Contestant> {
  const { spec } = parts;
  await parts.meet(undefined);
  const program = decoderProgram(spec.model);
  const executor = createExecutor(program, executorOptions(parts));
  await loadWeights(executor, program, spec.fixture);
  const batch = await loadBatch(spec.fixture, spec.rank);
  let step = 0;
  return {
    engine: executor.description,
    step: async () => {
      step += 1;
      const { loss } = await executor.run('step', { ...batch, step: Float32Array.of(step) });
      const value = loss?.data[0] ?? Number.NaN;
      loss?.dispose();
      return value;
    },
    close: () => executor.dispose(),
  };
}
