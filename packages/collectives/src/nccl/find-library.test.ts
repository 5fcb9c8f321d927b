import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { findNccl } from './find-library.js';

const folder = mkdtempSync(join(tmpdir(), 'weft-nccl-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(path: string): string {
  const whole = join(folder, path);
  mkdirSync(dirname(whole), { recursive: true });
  writeFileSync(whole, '');
  return whole;
}

it('finds the libraries that lie beside the plugin, as Python packages of CUDA 13 and of CUDA 12', () => {
  for (const [name, runtimePart, runtimeName] of [
    ['thirteen', 'cu13', 'libcudart.so.13'],
    ['twelve', 'cuda_runtime', 'libcudart.so.12'],
  ] as const) {
    const plugin = file(`${name}/jax_plugins/xla_cuda/xla_cuda_plugin.so`);
    const collectives = file(`${name}/nvidia/nccl/lib/libnccl.so.2`);
    const runtime = file(`${name}/nvidia/${runtimePart}/lib/${runtimeName}`);
    expect(findNccl({ environment: {}, plugin })).toEqual({ collectives, runtime });
  }
});

it('takes the libraries that a person names before all others', () => {
  const collectives = file('own/libnccl.so.2');
  const runtime = file('own/libcudart.so.13');
  expect(findNccl({ environment: { WEFT_NCCL_LIBRARY: collectives } })).toEqual({ collectives, runtime });
  const other = file('elsewhere/libhip.so');
  const environment = { WEFT_NCCL_LIBRARY: collectives, WEFT_CUDA_RUNTIME: other };
  expect(findNccl({ environment })).toEqual({ collectives, runtime: other });
});

it('refuses a name that is no file, and a library without a runtime', () => {
  const absent = join(folder, 'absent.so');
  expect(() => findNccl({ environment: { WEFT_NCCL_LIBRARY: absent } })).toThrow(
    `WEFT_NCCL_LIBRARY is ${absent}, where`,
  );
  const collectives = file('alone/librccl.so.1');
  expect(() => findNccl({ environment: { WEFT_NCCL_LIBRARY: collectives, WEFT_CUDA_RUNTIME: absent } })).toThrow(
    `WEFT_CUDA_RUNTIME is ${absent}, where`,
  );
});

it('finds nothing where nothing is', () => {
  expect(findNccl({ environment: {}, plugin: join(folder, 'nowhere/jax_plugins/xla/plugin.so') })).toBeUndefined();
});
