import { candidateMeshes, describeMesh, type Mesh } from '@weft/backend-pjrt';
import { bytes } from '@weft/common';
import { AUTOMATIC_MESH, allowsMesh, meshSize, type RunConfig } from '@weft/config';
import type { Shortage, WorkerMemory } from '@weft/contracts';
import { deviceMemory, expertWorkerState, logitsBytes } from './formulas.js';
import { changesTo, planRun } from './plan-run.js';

/** The part of the formula's activations that no compiler avoids: it was within 3 % of XLA's with full checkpointing. */
const SURE = 0.8;

/** What a worker needs at least, in bytes. */
interface Least {
  readonly state: number;
  readonly gradients: number;
  readonly temporaries: number;
}

/**
 * Why a worker cannot hold its part of a run; undefined where it may. It errs on the side of the run: gradients count
 * once, activations as with full checkpointing and no image, and all of the memory as free. So what is refused cannot run.
 */
export function memoryShortage(
  config: RunConfig,
  role: 'rank' | 'expertWorker',
  memory: WorkerMemory,
): Shortage | undefined {
  const onDevices = memory.devices > 0 && ['auto', 'pjrt'].includes(config.engine.backend);
  if (role === 'expertWorker') {
    const available = onDevices ? memory.devices * memory.deviceBytes : memory.hostBytes;
    const state = expertWorkerState(config);
    const hint = 'give the run more expert workers, or such with more memory';
    return shortageOf({ ...state, temporaries: 0 }, available, 'of memory', hint);
  }
  if (!onDevices) return shortageOf(leastOfHost(config), memory.hostBytes, 'of memory', planHint(config));
  const [least, mesh] = leastOfDevices(config, memory.devices) ?? [];
  if (least === undefined || mesh === undefined) return undefined;
  const cut = meshSize(mesh) === 1 ? '' : `, mesh ${describeMesh(mesh)}`;
  return shortageOf(least, memory.deviceBytes, `on each of its devices${cut}`, nearestHint(config, memory));
}

function shortageOf(least: Least, available: number, where: string, hint: string): Shortage | undefined {
  const { state, gradients, temporaries } = least;
  const needed = state + gradients + temporaries;
  if (available === 0 || needed <= available) return undefined;
  const parts = `weights and optimizer ${bytes(state)}, gradients ${bytes(gradients)}, the least of all else ${bytes(temporaries)}`;
  return { message: `${bytes(available)} ${where}, and needs at least ${bytes(needed)} (${parts})`, hint };
}

/** On a CPU everything is held once, and the logits at a time. */
function leastOfHost(config: RunConfig): Least {
  const { weights, optimizer, gradients } = deviceMemory(config, { fsdp: 1, tensor: 1, expert: 1 });
  return { state: weights + optimizer, gradients, temporaries: logitsBytes(config) };
}

/** Of the mesh of so many devices that needs least; undefined where the model allows none. */
function leastOfDevices(config: RunConfig, devices: number): readonly [Least, Mesh] | undefined {
  const own = config.engine.mesh;
  const meshes = own === AUTOMATIC_MESH ? candidateMeshes(devices).filter((mesh) => allowsMesh(config, mesh)) : [own];
  const textOnly: RunConfig = {
    ...config,
    activationCheckpointing: 'full',
    data: { ...config.data, imagesPerSequence: 0 },
  };
  const [best] = meshes
    .map((mesh) => ({ mesh, memory: deviceMemory(textOnly, mesh) }))
    .toSorted((a, b) => a.memory.total - b.memory.total);
  if (best === undefined) return undefined;
  const { weights, optimizer, gradients, activations } = best.memory;
  return [{ state: weights + optimizer, gradients, temporaries: SURE * activations }, best.mesh];
}

/** The nearest settings and hosts that fit, as a dry run names them. */
function nearestHint(config: RunConfig, { devices, deviceBytes }: WorkerMemory): string {
  const { workers, recipe } = config;
  const { layout, nearest } = planRun(config, {
    hosts: workers,
    devicesPerHost: devices,
    memoryBytes: deviceBytes,
    chip: undefined,
    networkBytesPerSecond: 1,
    price: undefined,
  });
  const found = layout.fits ? layout : nearest.find(({ hostsPerWorker }) => hostsPerWorker === 1);
  const changes = found === undefined ? [] : changesTo(config, found);
  if (changes.length === 0) return planHint(config);
  return `it fits such workers with --set ${changes.join(' ')}; \`weft launch ${recipe} --dry-run --devices ${devices}x${Math.floor(deviceBytes / 2 ** 30)}GiB\` says more`;
}

function planHint({ recipe }: RunConfig): string {
  return `\`weft launch ${recipe} --dry-run --devices 8x80GiB\` names a mesh and hosts that hold it`;
}
