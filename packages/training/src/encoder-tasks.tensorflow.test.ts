import { createExecutor, type EngineKind } from '@weft/backend-tensorflow';
import type { RunConfig } from '@weft/config';
import { taskOf } from '@weft/tasks';
import { expect, it } from 'vitest';
import { allGradients, encoderRuns, firstGradients } from './testing/encoder-runs.js';
import { trainProgram } from './train-program.js';

/** The gradients of one microbatch of four images, with this engine, and what the other phases say. */
async function firstStep(config: RunConfig, kind: EngineKind) {
  const program = trainProgram(taskOf(config), config);
  const executor = createExecutor(program, { kind, precision: 'fp32', threads: 1 });
  const { pairs, outputs } = await firstGradients(config, program, executor);
  const { learningRate } = await executor.run('apply', {
    ...Object.fromEntries(program.buckets.map(({ name }) => [name, outputs[name]!.data])),
    gradNorm: Float32Array.of(1),
    step: Float32Array.of(1),
  });
  const held = pairs === undefined ? undefined : (await executor.run('evaluate', pairs)).lossSum?.data[0];
  const gradients = allGradients(program, outputs);
  await executor.dispose();
  return { gradients, held, learningRate: learningRate?.data[0] };
}

it.each(encoderRuns)(
  'a %s task gives the same loss and gradients recorded as with the JavaScript engine, to 1e-5',
  async (_, config) => {
    const [graph, plain] = [await firstStep(config, 'graph'), await firstStep(config, 'javascript')];
    const apart = Math.hypot(...plain.gradients.map((x, i) => x - (graph.gradients[i] ?? Number.NaN)));
    expect(apart).toBeLessThan(1e-5 * Math.hypot(...plain.gradients));
    expect(graph.learningRate).toBeCloseTo(plain.learningRate ?? Number.NaN, 8);
    if (plain.held !== undefined) expect(graph.held).toBeCloseTo(plain.held, 4);
  },
);
