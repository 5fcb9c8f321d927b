import { basename } from 'node:path';
import { WeftError } from '@weft/common';
import type { NamedInputs } from './named-values.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** The settings of a plugin's client that the environment has. @throws WeftError `invalid_argument` naming variable and value */
export function clientOptionsOf(pluginPath: string, environment: Environment): NamedInputs {
  if (drivesGpus(pluginPath)) return gpuOptionsOf(environment);
  return basename(pluginPath).includes('cpu') ? cpuOptionsOf(environment) : {};
}

/** How many devices a client makes of the CPU, for tests of meshes: JAX's `JAX_NUM_CPU_DEVICES`. */
function cpuOptionsOf(environment: Environment): NamedInputs {
  const count = variableOf(environment, ['JAX_NUM_CPU_DEVICES']);
  if (count === undefined) return {};
  const devices = Number(count.value);
  if (Number.isSafeInteger(devices) && devices > 0) return { cpu_device_count: devices };
  throw new WeftError('invalid_argument', `${count.name} is ${count.value}, which is no number of devices`, {
    hint: 'set it to a whole number above 0, or unset it',
  });
}

/** Whether a plugin's client has the settings of GPUs; others refuse what they do not know. */
export function drivesGpus(pluginPath: string): boolean {
  return /cuda|rocm|gpu/.test(basename(pluginPath));
}

/**
 * How a client shares its GPU, from the environment variables that JAX reads too: they belong to a host and not to a run.
 * - `XLA_CLIENT_MEM_FRACTION`: which share of its memory a client may take; XLA's default is 0.75;
 * - `XLA_PYTHON_CLIENT_PREALLOCATE`: whether it takes that at once;
 * - `XLA_PYTHON_CLIENT_ALLOCATOR`: `default`, `platform`, `bfc`, `cuda_async`.
 * @throws WeftError `invalid_argument` naming variable and value
 */
export function gpuOptionsOf(environment: Environment): NamedInputs {
  const fraction = variableOf(environment, ['XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION']);
  const preallocate = variableOf(environment, ['XLA_PYTHON_CLIENT_PREALLOCATE']);
  const allocator = variableOf(environment, ['XLA_PYTHON_CLIENT_ALLOCATOR']);
  return {
    ...(fraction === undefined ? {} : { memory_fraction: shareOf(fraction) }),
    ...(preallocate === undefined ? {} : { preallocate: truthOf(preallocate) }),
    ...(allocator === undefined ? {} : { allocator: allocator.value }),
  };
}

interface Variable {
  readonly name: string;
  readonly value: string;
}

function variableOf(environment: Environment, names: readonly string[]): Variable | undefined {
  return names.flatMap((name) => (environment[name] ? [{ name, value: environment[name] }] : [])).at(0);
}

function shareOf({ name, value }: Variable): number {
  const share = Number(value);
  if (share > 0 && share <= 1) return share;
  throw new WeftError('invalid_argument', `${name} is ${value}, which is no share of a GPU's memory`, {
    hint: 'set it to a number above 0 and at most 1, such as 0.9, or unset it',
  });
}

function truthOf({ name, value }: Variable): boolean {
  const truth = { true: true, '1': true, false: false, '0': false }[value.toLowerCase()];
  if (truth !== undefined) return truth;
  throw new WeftError('invalid_argument', `${name} is ${value}`, { hint: 'set it to true or false, or unset it' });
}
