import { createPjrtExecutor, installPlugin, type Mesh } from '@weft/backend-pjrt';
import type { RunConfig } from '@weft/config';
import { taskOf } from '@weft/tasks';
import { type Executor, javascriptExecutor } from '@weft/tensor';
import { beforeAll, expect, it } from 'vitest';
import { allGradients, encoderRuns, firstGradients } from './testing/encoder-runs.js';
import { type TrainProgram, trainProgram } from './train-program.js';

let pluginPath: string;
beforeAll(async () => {
  pluginPath = (await installPlugin({ platform: 'cpu' })).path;
});

const onMesh = (mesh: Mesh) => (program: TrainProgram) =>
  createPjrtExecutor(program, {
    ...{ precision: 'fp32' as const, recompute: 'none' as const, pluginPath, mesh },
    clientOptions: { cpu_device_count: mesh.fsdp * mesh.tensor * mesh.expert },
  });

async function gradientsOf(config: RunConfig, open: (program: TrainProgram) => Executor): Promise<number[]> {
  const program = trainProgram(taskOf(config), config, { layout: 'separate' });
  const executor = open(program);
  try {
    return allGradients(program, (await firstGradients(config, program, executor)).outputs);
  } finally {
    await executor.dispose();
  }
}

it.each(encoderRuns)(
  'a %s task has the gradients of the JavaScript engine through XLA, on one device and on a mesh, to 1e-5',
  async (_, config) => {
    const plain = await gradientsOf(config, javascriptExecutor);
    for (const mesh of [
      { fsdp: 1, tensor: 1, expert: 1 },
      { fsdp: 2, tensor: 1, expert: 1 },
    ]) {
      const own = await gradientsOf(config, onMesh(mesh));
      const apart = Math.hypot(...plain.map((x, i) => x - (own[i] ?? Number.NaN)));
      expect(apart, `fsdp ${mesh.fsdp}`).toBeLessThan(1e-5 * Math.hypot(...plain));
    }
  },
);
