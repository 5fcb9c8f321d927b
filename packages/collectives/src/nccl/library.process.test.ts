import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, fetchWheels, type Wheel } from '@weft/native-setup';
import { beforeAll, expect, it } from 'vitest';
import { NcclLibrary } from './library.js';

/** NVIDIA's own libraries, as the plugin for CUDA 13 brings them. */
const WHEELS: readonly Wheel[] = [
  {
    project: 'nvidia-nccl-cu13',
    version: '2.27.7',
    file: 'nvidia_nccl_cu13-2.27.7-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 193_901_479,
    unpackedBytes: 260 * 2 ** 20,
    sha256: 'b28a524abd8389b76a4a3f133c76a7aaa7005e47fcaa9d9603b90103927a3f93',
  },
  {
    project: 'nvidia-cuda-runtime',
    version: '13.0.48',
    file: 'nvidia_cuda_runtime-13.0.48-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 2_242_632,
    unpackedBytes: 8 * 2 ** 20,
    sha256: '5b54d12087a1abff81a4cbfa6556876e3afea1fc60da2e0816da374619810c89',
  },
];
const folder = join(cacheDirectory(), 'nccl-2.27.7');
const collectives = join(folder, 'nvidia/nccl/lib/libnccl.so.2');
const runtime = join(folder, 'nvidia/cu13/lib/libcudart.so.13');

beforeAll(() =>
  fetchWheels(
    {
      title: 'NCCL 2.27.7',
      wheels: WHEELS,
      isNeeded: (name) => [collectives, runtime].includes(join(folder, name)),
      destination: folder,
      isPresent: () => existsSync(collectives) && existsSync(runtime),
      writeRecord: () => {},
      alternative: 'leave this test out',
    },
    process.env,
    () => {},
  ),
);

it("loads NVIDIA's own library, which tells its version and names communicators", () => {
  const library = new NcclLibrary({ collectives, runtime });
  expect(library.name).toBe('NCCL 2.27.7');
  const ids = [library.uniqueId(), library.uniqueId()];
  expect(ids[0]).toHaveLength(128);
  expect(ids[0]).not.toEqual(ids[1]);
});

it.skipIf(existsSync('/dev/nvidiactl'))('says in one sentence that there is no GPU', () => {
  const library = new NcclLibrary({ collectives, runtime });
  for (const call of [() => library.deviceCount(), () => library.createStream(0)]) {
    expect(call).toThrow(/^the GPU's runtime: (no CUDA-capable device|CUDA driver version)/);
  }
});

it('refuses a file that is no such library, naming it', () => {
  expect(() => new NcclLibrary({ collectives: runtime, runtime })).toThrow(`${runtime} cannot be used`);
  expect(() => new NcclLibrary({ collectives, runtime: '/no/such/libcudart.so' })).toThrow(
    '/no/such/libcudart.so cannot be used',
  );
});
