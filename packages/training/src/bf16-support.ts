import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { acceleratorPlugin } from '@weft/backend-pjrt';
import { describeNativeLibrary } from '@weft/backend-tensorflow';
import { bf16Instructions, type VectorInstructions, vectorInstructions, WeftError } from '@weft/common';
import { AUTOMATIC_PRECISION, BACKENDS, type Backend, type Precision, type RunConfig } from '@weft/config';

/** The first compute capability whose tensor cores multiply bf16: NVIDIA's Ampere. */
const BF16_CAPABILITY = 8;

/** What decides where bf16 is computed on a host. */
export interface ComputeHost {
  /** Whether there are an accelerator and its PJRT plugin. */
  readonly hasAccelerator: boolean;
  /** The build of TensorFlow's library; undefined where there is none. */
  readonly tensorflow: 'cpu' | 'gpu' | 'unknown' | undefined;
  readonly instructions: readonly VectorInstructions[];
  /** The compute capabilities of the GPUs that NVIDIA's driver knows, such as 9. */
  readonly capabilities: readonly number[];
}

/** Whether bf16 is computed by instructions of the hardware's own, and which, or why not, in few words. */
export interface Bf16Support {
  readonly isNative: boolean;
  readonly reason: string;
}

/**
 * Whether a backend multiplies bf16 in instructions of its own on a host; `auto` means the backend that it chooses there.
 * What is unknown counts as emulated, which costs speed and never correctness.
 */
export function bf16Support(backend: Backend, host: ComputeHost): Bf16Support {
  const { hasAccelerator, tensorflow, capabilities } = host;
  switch (backend === 'auto' ? automaticBackend(host) : backend) {
    case 'pjrt':
      return hasAccelerator ? ofGpus(host) : { isNative: false, reason: 'no accelerator' };
    case 'tensorflow':
      if (tensorflow === undefined) return { isNative: false, reason: 'no TensorFlow' };
      return tensorflow === 'gpu' && capabilities.length > 0 ? ofGpus(host) : ofProcessor(host);
    default:
      return { isNative: false, reason: 'the JavaScript engine has fp32 only' };
  }
}

function automaticBackend({ hasAccelerator, tensorflow }: ComputeHost): Exclude<Backend, 'auto'> {
  if (hasAccelerator) return 'pjrt';
  return tensorflow === undefined ? 'javascript' : 'tensorflow';
}

function ofGpus({ capabilities }: ComputeHost): Bf16Support {
  if (capabilities.length === 0) return { isNative: false, reason: 'a GPU of unknown compute capability' };
  const least = Math.min(...capabilities);
  const isNative = least >= BF16_CAPABILITY;
  const below = isNative ? '' : `, below ${BF16_CAPABILITY.toFixed(1)}`;
  return { isNative, reason: `GPU of compute capability ${least.toFixed(1)}${below}` };
}

function ofProcessor({ instructions }: ComputeHost): Bf16Support {
  const found = bf16Instructions(instructions);
  return found.length > 0
    ? { isNative: true, reason: found.join(', ') }
    : { isNative: false, reason: 'no AVX512_BF16 or AMX' };
}

/** The backends with which a host computes bf16 natively. */
export function bf16Backends(host: ComputeHost): readonly Backend[] {
  return BACKENDS.filter((backend) => bf16Support(backend, host).isNative);
}

/** What is known of this host. Loads nothing native. */
export function computeHost(): ComputeHost {
  const library = found(describeNativeLibrary);
  const hasAccelerator = found(acceleratorPlugin) !== undefined;
  const tensorflow = library?.found ? library.variant : undefined;
  return {
    hasAccelerator,
    tensorflow,
    instructions: vectorInstructions(readCpuinfo()),
    capabilities: hasAccelerator || tensorflow === 'gpu' ? readCapabilities() : [],
  };
}

/** Undefined where a person named files that are not there: what computes refuses them. */
function found<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (thrown) {
    if (WeftError.is(thrown, 'native_library')) return undefined;
    throw thrown;
  }
}

function readCpuinfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}

function readCapabilities(): readonly number[] {
  const { status, stdout } = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return status === 0 ? parseCapabilities(stdout) : [];
}

/** @param lines one number for each GPU, as `nvidia-smi` writes them */
export function parseCapabilities(lines: string): readonly number[] {
  return lines
    .split('\n')
    .map((line) => Number.parseFloat(line))
    .filter((capability) => !Number.isNaN(capability));
}

/** The precision in which this host alone computes: for a model that no run is training. */
export function localPrecision({ precision, engine }: RunConfig, host: () => ComputeHost = computeHost): Precision {
  if (precision !== AUTOMATIC_PRECISION) return precision;
  return bf16Support(engine.backend, host()).isNative ? 'bf16' : 'fp32';
}
