import { inMemoryRing } from '@weft/collectives';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { taskOf } from '@weft/tasks';
import type { Executor } from '@weft/tensor';
import { shareValues } from '../shared-values.js';
import { initialiseState } from '../state.js';
import type { TrainProgram } from '../train-program.js';
import { pairsConfig, pairsMicrobatches } from './pairs.js';

const clip = pairsConfig({ globalBatchSize: 4, microbatchSize: 4 });
const { classToken: _, ...vision } = clip.model.vision;

/** The smallest run of each task that trains an encoder, with one microbatch of four images a step. */
export const encoderRuns: readonly (readonly [task: string, config: RunConfig])[] = [
  ['contrastive', clip],
  [
    'reconstructive',
    resolveRunConfig({
      ...{ recipe: 'aim', steps: 4, globalBatchSize: 4, data: clip.data, optimizer: { learningRate: 1e-2 } },
      task: { kind: 'reconstructive', headWidth: 8, headDepth: 1 } as never,
      model: { vision },
    }),
  ],
];

/** The phase `gradients` of a run's first microbatch, from the state of a seed. */
export async function firstGradients(config: RunConfig, program: TrainProgram, executor: Executor) {
  await initialiseState(executor, program, 3);
  const [pairs] = pairsMicrobatches(config, { first: 0, end: 4 });
  const group = inMemoryRing(1)[0]!;
  const { shared } = taskOf(config);
  if (shared === undefined) {
    const batch = { images_NHWC: pairs!.images_NHWC!, prefixLength_N: Int32Array.of(1, 2, 3, 1) };
    return { pairs: undefined, outputs: await executor.run('gradients', batch) };
  }
  const known = await shareValues({ executor, group, shared }, [pairs!]);
  return { pairs, outputs: await executor.run('gradients', { ...pairs, ...known(0) }) };
}

/** All gradients, one after the other. */
export function allGradients(program: TrainProgram, outputs: Awaited<ReturnType<Executor['run']>>): number[] {
  return program.buckets.flatMap(({ name }) => [...(outputs[name]?.data ?? [])]);
}
