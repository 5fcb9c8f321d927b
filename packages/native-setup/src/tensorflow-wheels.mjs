// The pinned wheels that carry TensorFlow's shared libraries, and which of them a host needs.
// The Python version in a name does not matter: only the C++ libraries are unpacked.

/** @import { Host, Wheel } from './types.mjs' */

export const TENSORFLOW_VERSION = '2.21.0';

/** The two files everything is about. */
export const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];

/** The oldest TensorFlow of a Python package that is taken as it is. */
export const OLDEST_VERSION = [2, 18];

// file, bytes, MiB unpacked, SHA-256
const CPU = `
tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl 273829956 814 2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c
`;

// The NVIDIA versions are the lower bounds that this TensorFlow names: the ones it was built against.
const GPU = `
tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl 572440367 1201 9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124
nvidia_cublas_cu12-12.5.3.2-py3-none-manylinux2014_x86_64.whl 363313169 527 ca070ad70e9fa6654084575d01bd001f30cc4665e33d4bb9fc8e0f321caa034b
nvidia_cuda_cupti_cu12-12.5.82-py3-none-manylinux2014_x86_64.whl 13811507 42 bde77a5feb66752ec61db2adfe47f56b941842825b4c7e2068aff27c9d107953
nvidia_cuda_nvcc_cu12-12.5.82-py3-none-manylinux2014_x86_64.whl 22468537 57 b03e545b8e8c3ce7ebcd7fc44063180ff52ff01d064ece2127ed90a04ef12cd0
nvidia_cuda_nvrtc_cu12-12.5.82-py3-none-manylinux2014_x86_64.whl 24873108 66 3dbd97b0104b4bfbc3c4f8c79cd2496307c89c43c29a9f83125f1d76296ff3fd
nvidia_cuda_runtime_cu12-12.5.82-py3-none-manylinux2014_x86_64.whl 895707 1 3e79a060e126df40fd3a068f3f787eb000fa51b251ec6cd97d09579632687115
nvidia_cudnn_cu12-9.3.0.75-py3-none-manylinux2014_x86_64.whl 577163502 845 9ad9c6929ebb5295eb4a1728024666d1c88283373e265a0c5c883e6f9d5cd76d
nvidia_cufft_cu12-11.2.3.61-py3-none-manylinux2014_x86_64.whl 192524114 267 9a6e8df162585750f61983a638104a48c756aa13f9f48e19ab079b38e3c828b8
nvidia_curand_cu12-10.3.6.82-py3-none-manylinux2014_x86_64.whl 56309107 93 2823fb27de4e44dbb22394a6adf53aa6e1b013aca0f8c22867d1cfae58405536
nvidia_cusolver_cu12-11.6.3.83-py3-none-manylinux2014_x86_64.whl 130341232 209 93cfafacde4428b71778eeb092ec615a02a3d05404da1bcf91c53e3fa1bce42b
nvidia_cusparse_cu12-12.5.1.3-py3-none-manylinux2014_x86_64.whl 217558979 283 016df8e993c437e8301e62739f01775cba988fd5253cd4c64173f8e8d2f8e752
nvidia_nccl_cu12-2.27.7-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl 322546339 411 de5ba5562f08029a19cb1cd659404b18411ed0d6c90ac5f52f30bf99ad5809aa
nvidia_nvjitlink_cu12-12.5.82-py3-none-manylinux2014_x86_64.whl 21298879 53 f9b37bc5c8cf7509665cb6ada5aaa0ce65618f2332b7d3e78e9790511f111212
`;

/** @type {(table: string) => readonly Wheel[]} */
const parse = (table) =>
  table
    .trim()
    .split('\n')
    .map((row) => {
      const [file = '', bytes, mebibytes, sha256 = ''] = row.split(' ');
      const [project = '', version = ''] = file.split('-');
      const unpackedBytes = Number(mebibytes) * 1024 * 1024;
      return { project: project.replaceAll('_', '-'), version, file, bytes: Number(bytes), unpackedBytes, sha256 };
    });

/** @type {Record<'cpu' | 'gpu', readonly Wheel[]>} */
export const WHEELS = { cpu: parse(CPU), gpu: parse(GPU) };

/**
 * Which files of a wheel are unpacked. The folders are kept: the RUNPATH of TensorFlow's libraries says
 * `$ORIGIN/../nvidia/<part>/lib`, and XLA looks for `../nvidia/cuda_nvcc`.
 *
 * @param {string} name of an entry
 * @returns {boolean}
 */
export function isNeeded(name) {
  if (LIBRARIES.some((library) => name === `tensorflow/${library}`)) return true;
  return /^nvidia\/\w+\/(lib|bin|nvvm)\/.*[^/]$/.test(name) && !name.endsWith('.py');
}

/**
 * Which build a host needs, or why the wheels do not run there.
 *
 * @param {Host} host
 * @returns {{ variant: 'cpu' | 'gpu'; reason: string } | { variant: null; reason: string }}
 */
export function chooseVariant(host) {
  if (host.platform !== 'linux' || host.architecture !== 'x64') {
    return { variant: null, reason: `no TensorFlow library is pinned for ${host.platform} on ${host.architecture}` };
  }
  if (host.glibc === null)
    return { variant: null, reason: 'the TensorFlow library needs glibc, which this host lacks' };
  if (!atLeast(host.glibc, [2, 27])) {
    return { variant: null, reason: `the TensorFlow library needs glibc 2.27, this host has ${host.glibc}` };
  }
  return host.gpu
    ? { variant: 'gpu', reason: 'nvidia-smi lists a GPU' }
    : { variant: 'cpu', reason: 'nvidia-smi lists no GPU' };
}

/**
 * @param {string} version `2.21.0` and the like
 * @param {readonly number[]} bound
 * @returns {boolean}
 */
export function atLeast(version, bound) {
  const parts = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  for (const [index, limit] of bound.entries()) {
    const part = parts[index] ?? 0;
    if (part !== limit) return part > limit;
  }
  return true;
}
