import { basename } from 'node:path';
import type { Host, Wheel } from '@weft/native-setup';

/**
 * Which accelerators a plugin drives. `cuda` is for drivers that speak CUDA 13, `cuda12` for older ones. `cpu` serves tests
 * only: TensorFlow is faster there. `compiler` drives none: it is what of `cuda` compiles for GPUs that are not there.
 */
export type Platform = 'cuda' | 'cuda12' | 'rocm' | 'cpu' | 'compiler';

/** The pinned wheels of a plugin, and what of them is needed. */
export interface PluginPin {
  readonly platform: Platform;
  /** Of the plugin, and so of its XLA. */
  readonly version: string;
  /** Path of the plugin among the unpacked files. */
  readonly plugin: string;
  readonly wheels: readonly Wheel[];
  isNeeded(name: string): boolean;
}

// file, bytes, MiB unpacked (of the CUDA ones about), SHA-256
const CUDA = `
jax_cuda13_pjrt-0.11.2-py3-none-manylinux_2_27_x86_64.whl 134162640 411 e5ff589d43064913bb74027682d89639c7ea48f9f81c2bae6fc75117e913f93e
nvidia_cublas-13.0.0.19-py3-none-manylinux_2_27_x86_64.whl 419392356 600 f6723af2e8e2600a11dc384037d90d9bf93070e346c24ef2e8f9001658c99896
nvidia_cuda_cupti-13.0.48-py3-none-manylinux_2_25_x86_64.whl 10718148 40 417699e216b23d81bc0bbcb7032352f81b9c5372ef73c097a01abb83125a3d09
nvidia_cuda_nvcc-13.0.48-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 37409350 120 d529c52d30c403cbf6fb17a3009530a48d94ea3ad99c990ad0301d9c744eb866
nvidia_cuda_runtime-13.0.48-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 2242632 8 5b54d12087a1abff81a4cbfa6556876e3afea1fc60da2e0816da374619810c89
nvidia_cudnn_cu13-9.12.0.46-py3-none-manylinux_2_27_x86_64.whl 313738868 600 f3befad533e234069eb61ae0d12cb7aa8af0ccf36f28c1d4273cc0005d990de0
nvidia_cufft-12.0.0.15-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 214085489 290 9f160b1f018e80bcb0d7c0fa50564b042fa26b13edc1b1ff14b6375a9edd2812
nvidia_cusolver-12.0.3.29-py3-none-manylinux_2_27_x86_64.whl 193474165 320 6f54c2eed5edab54c224dd1852dde80ba76b2b78e6d3ce7344fef5dfc66d16ab
nvidia_cusparse-12.6.2.49-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 140247612 220 efcf0b01e3a0827c144feff5391456b8a06e9ce63dcd51c0943e32e605251952
nvidia_nccl_cu13-2.27.7-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 193901479 260 b28a524abd8389b76a4a3f133c76a7aaa7005e47fcaa9d9603b90103927a3f93
nvidia_nvjitlink-13.0.39-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 40709605 100 bc3179be558329ef9687884c6faa27cdc0659bdbc642432ec8cc6cc00d182627
nvidia_cuda_nvrtc-13.0.48-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 90214268 220 87e13d186905a35e7c04ad553a2abded0fba22f93b43d02e5da6f6cf73fb4d0a
nvidia_nvshmem_cu13-3.3.20-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 56063072 200 e9d4bd6a01e6a2745903b5b7347fce5b0dddee0db95950fba313dd47c6990b5b
nvidia_nvvm-13.0.48-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 61601417 160 a7cf76afc14682c46d43d5cdc370fc1da69cb84270e6854c6b3869584ecbd483
`;

/** The newest libraries of CUDA 12, which run on every driver that speaks CUDA 12. */
const CUDA12 = `
jax_cuda12_pjrt-0.11.2-py3-none-manylinux_2_27_x86_64.whl 188235313 475 2133b3afc63307c016ae4980f166b2b3de199759363ead74f7d550eaae953463
nvidia_cublas_cu12-12.9.3.13-py3-none-manylinux_2_27_x86_64.whl 581217458 816 d7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72
nvidia_cuda_cupti_cu12-12.9.79-py3-none-manylinux_2_25_x86_64.whl 10814997 42 096bcf334f13e1984ba36685ad4c1d6347db214de03dbb6eebb237b41d9d934f
nvidia_cuda_nvcc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 40546229 94 5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0
nvidia_cuda_nvrtc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 89568129 217 210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4
nvidia_cuda_runtime_cu12-12.9.79-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 3493179 6 25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3
nvidia_cudnn_cu12-9.28.0.42-py3-none-manylinux_2_27_x86_64.whl 716538495 1109 9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375
nvidia_cufft_cu12-11.4.1.4-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 200877592 281 c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28
nvidia_cusolver_cu12-11.7.5.82-py3-none-manylinux_2_27_x86_64.whl 338117415 473 15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88
nvidia_cusparse_cu12-12.5.10.65-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 366465088 465 73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78
nvidia_nccl_cu12-2.32.3-py3-none-manylinux_2_27_x86_64.whl 351526311 467 bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c
nvidia_nvjitlink_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl 39748338 92 e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9
nvidia_nvshmem_cu12-3.8.0-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 280800183 399 b2e5760d6158aefe7bb74348d5128bb1b46a7dd1fd4b7b1e6fe55b4b07888f70
`;

/** ROCm's own libraries belong to the host's installation. */
const ROCM = `
jax_rocm7_pjrt-0.11.2-py3-none-manylinux_2_27_x86_64.whl 139991500 461 f673c6b3ffec3001e259c766ab85415926cfe12f548429f0a41c410b62b0937b
`;

const CPU = `
lammps_jax_pjrt_cpu-0.11.2-py3-none-manylinux_2_27_x86_64.whl 62711338 193 1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1
`;

/** The wheels of `CUDA` that were seen to be opened while programs compile, fused attention included. */
const COMPILER = CUDA.split('\n')
  .filter((row) => /^(jax_cuda13_pjrt|nvidia_nvvm|nvidia_cuda_nvcc)-/.test(row))
  .join('\n');

export const PINS: Readonly<Record<Platform, PluginPin>> = {
  // The plugin's RPATH says $ORIGIN/../../nvidia/<part>/lib, so the folders of the wheels are kept.
  cuda: pin('cuda', CUDA, 'jax_plugins/xla_cuda13/xla_cuda_plugin.so', isNvidiaLibrary),
  cuda12: pin('cuda12', CUDA12, 'jax_plugins/xla_cuda12/xla_cuda_plugin.so', isNvidiaLibrary),
  compiler: pin('compiler', COMPILER, 'jax_plugins/xla_cuda13/xla_cuda_plugin.so', (name) =>
    /^nvidia\/cu13\/(nvvm\/libdevice\/.*|bin\/ptxas)$/.test(name),
  ),
  rocm: pin('rocm', ROCM, 'jax_plugins/xla_rocm7/xla_rocm_plugin.so'),
  cpu: pin('cpu', CPU, 'lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so'),
};

function isNvidiaLibrary(name: string): boolean {
  return /^nvidia\/.*\/(lib|bin|nvvm)\/.*[^/]$/.test(name);
}

/** What the tools of GPUs say of a host. */
export interface GpuTools {
  /** The newest CUDA that NVIDIA's driver speaks, such as 12.4; undefined where nothing tells. */
  readonly cudaVersion?: number | undefined;
  /** Whether `rocm-smi` lists a GPU. */
  readonly hasRocm?: boolean;
}

/** The accelerator of a host that answers, or why there is none for which a plugin is pinned. */
export function acceleratorOf(
  host: Host,
  { cudaVersion = 13, hasRocm = false }: GpuTools,
): { readonly platform?: Platform; readonly reason: string } {
  if (host.platform !== 'linux' || host.architecture !== 'x64' || host.glibc === null) {
    return { reason: `no PJRT plugin is pinned for ${host.platform} on ${host.architecture}` };
  }
  if (host.gpu && cudaVersion >= 13) return { platform: 'cuda', reason: 'nvidia-smi lists a GPU' };
  if (host.gpu && cudaVersion >= 12) {
    return { platform: 'cuda12', reason: `nvidia-smi lists a GPU, whose driver speaks CUDA ${cudaVersion}` };
  }
  if (host.gpu)
    return { reason: `the NVIDIA driver speaks CUDA ${cudaVersion}, and no plugin for less than 12 is pinned` };
  if (hasRocm) return { platform: 'rocm', reason: 'rocm-smi lists a GPU' };
  return { reason: 'neither nvidia-smi nor rocm-smi lists a GPU' };
}

function pin(platform: Platform, table: string, plugin: string, isLibrary = (_name: string) => false): PluginPin {
  const wheels = table.trim().split('\n').map(parseRow);
  const isNeeded = (name: string) => name === plugin || (isLibrary(name) && !name.endsWith('.py'));
  return { platform, version: wheels[0]?.version ?? '', plugin, wheels, isNeeded };
}

function parseRow(row: string): Wheel {
  const [file = '', size, mebibytes, sha256 = ''] = row.split(' ');
  const [project = '', version = ''] = basename(file).split('-');
  return {
    project: project.replaceAll('_', '-'),
    version,
    file,
    bytes: Number(size),
    unpackedBytes: Number(mebibytes) * 2 ** 20,
    sha256,
  };
}
