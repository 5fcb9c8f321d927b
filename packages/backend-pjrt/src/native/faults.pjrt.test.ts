import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { faultyPlugin, type PluginFault } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpuClient, cpuPlugin } from '../testing/cpu-client.js';
import { Client } from './client.js';
import { loadPlugin } from './plugin.js';

const ADD = `module { func.func public @main(%a: tensor<2xf32>) -> tensor<2xf32> {
  %0 = stablehlo.add %a, %a : tensor<2xf32>
  return %0 : tensor<2xf32> } }`;

let directory: string;
let realPath: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-faulty-'));
  realPath = (await cpuPlugin()).path;
});
afterAll(() => rmSync(directory, { recursive: true }));

/** A process loads a file once, so each is in a folder of its own. */
function faulty(fault: PluginFault, after = 0) {
  const own = mkdtempSync(join(directory, 'plugin-'));
  return loadPlugin(faultyPlugin({ realPath, directory: own, fault, after }));
}

/** Opens a device, compiles, uploads and runs a program twice. */
async function runTwice(fault: PluginFault): Promise<void> {
  const client = await Client.open(faulty(fault, 1), { cpu_device_count: 1 });
  try {
    const [sum, a] = await Promise.all([client.compile(ADD), client.upload(Float32Array.of(1, 2), [2], 'float32')]);
    for (const run of [1, 2]) {
      const { outputs } = await sum.execute([a]);
      expect(await outputs[0]?.readInto(new Float32Array(2)), `run ${run}`).toEqual(Float32Array.of(2, 4));
    }
  } finally {
    await client.close();
  }
}

describe('a plugin that cannot go on is one sentence with its hint', () => {
  test('too old', () => {
    expect(() => faulty('OLD')).toThrow(
      expect.objectContaining({
        code: 'native_library',
        message: expect.stringMatching(/^the plugin \S+ has API 0\.40, which Weft does not speak$/),
        hint: 'take a plugin whose API is 0.81 or newer',
      }),
    );
  });

  test('without a function', async () => {
    await expect(runTwice('LACKS_EXECUTE')).rejects.toMatchObject({
      code: 'native_library',
      message: expect.stringContaining('has no PJRT_LoadedExecutable_Execute'),
      hint: expect.stringContaining('or newer'),
    });
  });

  test('without a device', async () => {
    await expect(runTwice('NO_DEVICE')).rejects.toMatchObject({
      code: 'native_library',
      message: 'the PJRT plugin opened no device: No visible GPU devices.',
      hint: expect.stringContaining('nvidia-smi'),
    });
  });

  test('out of memory, in its first line', async () => {
    await expect(runTwice('EXHAUSTED')).rejects.toMatchObject({
      code: 'out_of_memory',
      message:
        'the device is out of memory (PJRT_LoadedExecutable_Execute: Out of memory while trying to allocate 68719476736 bytes.)',
      hint: expect.stringContaining('microbatchSize smaller'),
    });
  });

  test('failed', async () => {
    await expect(runTwice('INTERNAL')).rejects.toMatchObject({
      code: 'device_failed',
      message: expect.stringMatching(/^the device failed \(PJRT_LoadedExecutable_Execute: CUDA_ERROR_ILLEGAL_ADDRESS/),
      hint: expect.stringContaining('start the worker again'),
    });
  });
});

test('a program that needs more memory than there is fails alone; the client goes on', async () => {
  const client = await cpuClient();
  const big = 'tensor<1048576x1048576xf32>';
  const huge = await client.compile(`module { func.func public @main(%a: tensor<f32>) -> ${big} {
    %0 = stablehlo.broadcast_in_dim %a, dims = [] : (tensor<f32>) -> ${big}
    return %0 : ${big} } }`);
  const a = await client.upload(Float32Array.of(1), [], 'float32');
  const running = async () => {
    const { outputs, done } = await huge.execute([a]);
    for (const output of outputs) output.free();
    await done;
  };
  await expect(running()).rejects.toMatchObject({ code: 'out_of_memory' });
  const b = await client.upload(Float32Array.of(1, 2), [2], 'float32');
  const { outputs } = await (await client.compile(ADD)).execute([b]);
  expect(await outputs[0]?.readInto(new Float32Array(2))).toEqual(Float32Array.of(2, 4));
  await client.close();
});
