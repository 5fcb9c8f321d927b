import { type Chip, candidateMeshes, deviceCount, type Mesh } from '@weft/backend-pjrt';
import { ACTIVATION_CHECKPOINTING, AUTOMATIC_MESH, allowsMesh, meshSize, type RunConfig } from '@weft/config';
import {
  type DeviceMemory,
  deviceMemory,
  gradientBytes,
  type MicrobatchTraffic,
  microbatchTraffic,
  operandBytes,
  sequenceFlops,
} from './formulas.js';

/** The devices that a run is planned for. */
export interface PlanTarget {
  readonly hosts: number;
  readonly devicesPerHost: number;
  readonly memoryBytes: number;
  /** Undefined: nobody said, and there is no estimate of time. */
  readonly chip: Chip | undefined;
  /** Bytes a second of one host's network, in one direction. */
  readonly networkBytesPerSecond: number;
  /** Of one device for an hour, in any currency. */
  readonly price: number | undefined;
}

/** How a run is laid on devices. */
export interface Layout {
  readonly hosts: number;
  /** Hosts that one worker spans: 1 in a run; more can be compiled only. */
  readonly hostsPerWorker: number;
  readonly mesh: Mesh;
  readonly microbatchSize: number;
  readonly activationCheckpointing: RunConfig['activationCheckpointing'];
  readonly memory: DeviceMemory;
  readonly fits: boolean;
}

export interface RunPlan {
  readonly layout: Layout;
  /** Where the run does not fit as it is: those that do and need the fewest changes, one that can be run first. */
  readonly nearest: readonly Layout[];
  /** On the same devices with other settings, where that takes less than 95 % of the time. */
  readonly faster: { readonly layout: Layout; readonly time: PlannedTime } | null;
  readonly microbatchesPerStep: number;
  /** Floating-point operations of a step: with all images in every sequence of a source that has any; `again` beside them. */
  readonly flops: { readonly step: number; readonly images: number; readonly again: number };
  /** Bytes of a step that one device sends inside its host, and that one host sends to others. */
  readonly traffic: { readonly insideHost: number; readonly betweenHosts: number };
  readonly time: PlannedTime | null;
}

export interface PlannedTime {
  readonly stepSeconds: number;
  /** Of a step, beside each other or one after the other. */
  readonly computeSeconds: number;
  readonly insideHostSeconds: number;
  readonly betweenHostsSeconds: number;
  /** The operations of a step without those that are computed again, over what the devices' peak would do meanwhile. */
  readonly mfu: number;
  readonly runSeconds: number;
  readonly cost: number | null;
}

/**
 * The part of a device's memory that is planned with. With full checkpointing the formula was within 2 % of what XLA
 * compiles; the others have not been compared. The rest is for CUDA, NCCL and the libraries of kernels.
 */
const USABLE = { none: 0.85, selective: 0.85, full: 0.92 } as const;
/** Of what was compiled: CUDA, NCCL and the libraries of kernels take memory too, and an allocator cannot use the last of it. */
const USABLE_WHEN_COMPILED = 0.96;

/** Whether the bytes that the compiler asks for are there. */
export function fitsCompiled(neededBytes: number, memoryBytes: number): boolean {
  return neededBytes <= USABLE_WHEN_COMPILED * memoryBytes;
}

/** Assumed, not measured: what products reach of the peak, and transfers of a link. */
export const ASSUMED = { products: 0.5, links: 0.8 } as const;
/** Where the search for more hosts, and for larger meshes, ends. */
const MOST_HOSTS = 1024;
const MOST_MESH_DEVICES = 2048;

/** Lays a run on devices by formulas alone. A worker is one host; it has one mesh over its devices. */
export function planRun(config: RunConfig, target: PlanTarget): RunPlan {
  const written = layoutsOf(config, target, { hosts: target.hosts, hostsPerWorker: 1 }, [
    { microbatchSize: config.microbatchSize, activationCheckpointing: config.activationCheckpointing },
  ])[0];
  const layout = written ?? unlaid(config, target);
  const nearest = layout.fits ? [] : nearestLayouts(config, target);
  const own = estimate(config, target, layout);
  const faster = layout.fits && own.time !== null ? fasterLayout(config, target, own.time) : null;
  return { layout, nearest, faster, ...own };
}

function fasterLayout(config: RunConfig, target: PlanTarget, own: PlannedTime): RunPlan['faster'] {
  const place = { hosts: target.hosts, hostsPerWorker: 1 };
  const settings = settingsFor({ ...config, activationCheckpointing: 'none' }, target, target.hosts, 1);
  const timed = layoutsOf(config, target, place, settings).flatMap((layout) => {
    const { time } = estimate(config, target, layout);
    return layout.fits && time !== null ? [{ layout, time }] : [];
  });
  const [fastest] = timed.toSorted((a, b) => a.time.stepSeconds - b.time.stepSeconds);
  return fastest !== undefined && fastest.time.stepSeconds < 0.95 * own.stepSeconds ? fastest : null;
}

/** The estimates of a run that is laid in another way. */
export function estimate(
  config: RunConfig,
  target: PlanTarget,
  layout: Layout,
): Omit<RunPlan, 'layout' | 'nearest' | 'faster'> {
  const { hosts, hostsPerWorker, mesh } = layout;
  const changed = withLayout(config, layout);
  const workers = hosts / hostsPerWorker;
  const microbatchesPerStep = countMicrobatches(config, workers, layout.microbatchSize);
  const flops = stepFlops(changed);
  const moved = microbatchTraffic(changed, mesh, target.devicesPerHost);
  const ring = (2 * (workers - 1) * gradientBytes(changed)) / (workers * hostsPerWorker);
  const traffic = {
    insideHost: microbatchesPerStep * (moved.sent + moved.summed),
    betweenHosts: ring + microbatchesPerStep * moved.fromOtherHosts,
  };
  const time = target.chip && timeOf(changed, target, target.chip, layout, { microbatchesPerStep, flops, moved, ring });
  return { microbatchesPerStep, flops, traffic, time: time ?? null };
}

interface StepWork {
  readonly microbatchesPerStep: number;
  readonly flops: RunPlan['flops'];
  readonly moved: MicrobatchTraffic;
  readonly ring: number;
}

/**
 * Gathers and scatters run beside the products, sums over `tensor` do not. The sum of gradients between hosts runs beside
 * half of the last microbatch. The update reads and writes the state once.
 */
function timeOf(config: RunConfig, target: PlanTarget, chip: Chip, layout: Layout, work: StepWork): PlannedTime {
  const { networkBytesPerSecond, price, devicesPerHost } = target;
  const { microbatchesPerStep, flops, moved, ring } = work;
  const { hosts, memory } = layout;
  const devices = hosts * devicesPerHost;
  const tflops = operandBytes(config) === 2 ? chip.peakBf16TflopPerSecond : chip.peakFp32TflopPerSecond;
  const peak = tflops * 1e12 * devices;
  const compute = (flops.step + flops.again) / (peak * ASSUMED.products) / microbatchesPerStep;
  const link = ASSUMED.links * chip.linkBytesPerSecond;
  const network = ASSUMED.links * networkBytesPerSecond;
  const beside = Math.max(compute, moved.sent / link, moved.fromOtherHosts / network);
  const update = (2 * (memory.weights + memory.optimizer) + memory.gradients) / chip.memoryBytesPerSecond;
  const exposedRing = Math.max(0, ring / network - compute / 2);
  const stepSeconds = microbatchesPerStep * (beside + moved.summed / link) + exposedRing + update;
  const runSeconds = stepSeconds * config.steps;
  return {
    stepSeconds,
    computeSeconds: microbatchesPerStep * compute,
    insideHostSeconds: (microbatchesPerStep * (moved.sent + moved.summed)) / link,
    betweenHostsSeconds: (ring + microbatchesPerStep * moved.fromOtherHosts) / network,
    mfu: flops.step / (stepSeconds * peak),
    runSeconds,
    cost: price === undefined ? null : (price * devices * runSeconds) / 3600,
  };
}

/** The operations of one step, forward and backward, of all workers together, and what its products read. */
export function modelFlops(config: RunConfig): { readonly step: number; readonly operands: 'bf16' | 'fp32' } {
  return { step: stepFlops(config).step, operands: operandBytes(config) === 2 ? 'bf16' : 'fp32' };
}

/** Sources without images compute no encoder. */
function stepFlops(config: RunConfig): RunPlan['flops'] {
  const { globalBatchSize, data } = config;
  const weights = Object.entries(data.weights);
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  const withImages = weights.reduce((sum, [name, weight]) => sum + (data.sources[name] === 'text' ? 0 : weight), 0);
  const each = sequenceFlops(config);
  const images = globalBatchSize * each.images * (withImages / total);
  return { step: globalBatchSize * each.decoder + images, images, again: globalBatchSize * each.again };
}

/** Sequences of the worker that has the most of them, over those of a microbatch. */
function countMicrobatches({ globalBatchSize }: RunConfig, workers: number, microbatchSize: number): number {
  return Math.ceil(Math.ceil(globalBatchSize / workers) / microbatchSize);
}

type Settings = Pick<Layout, 'microbatchSize' | 'activationCheckpointing'>;

/** The mesh of each of some settings that has one: the run's own, else the least cutting that fits, else the one that needs least. */
function layoutsOf(
  config: RunConfig,
  { devicesPerHost, memoryBytes }: PlanTarget,
  { hosts, hostsPerWorker }: Pick<Layout, 'hosts' | 'hostsPerWorker'>,
  settings: readonly Settings[],
): Layout[] {
  const devices = devicesPerHost * hostsPerWorker;
  return settings.flatMap((each) => {
    const changed = withLayout(config, each);
    const layouts = meshesFor(changed, devices, devicesPerHost).map((mesh): Layout => {
      const memory = deviceMemory(changed, mesh);
      const fits = memory.total <= USABLE[each.activationCheckpointing] * memoryBytes;
      return { hosts, hostsPerWorker, mesh, ...each, memory, fits };
    });
    const [least] = layouts.toSorted((a, b) => a.memory.total - b.memory.total);
    const chosen = layouts.find(({ fits }) => fits) ?? least;
    return chosen === undefined ? [] : [chosen];
  });
}

/**
 * Of the run where it names one of so many devices, else all that its model allows, the least cutting first. `tensor` stays
 * inside a host: its sums are waited for.
 */
function meshesFor(config: RunConfig, devices: number, devicesPerHost: number): readonly Mesh[] {
  const { mesh } = config.engine;
  if (mesh !== AUTOMATIC_MESH && meshSize(mesh) === devices) return [mesh];
  return candidateMeshes(devices).filter((each) => devicesPerHost % each.tensor === 0 && allowsMesh(config, each));
}

/** The run as it is laid. */
export function withLayout(config: RunConfig, { microbatchSize, activationCheckpointing }: Settings): RunConfig {
  return { ...config, microbatchSize, activationCheckpointing, engine: { ...config.engine, backend: 'pjrt' } };
}

/** A run whose settings allow no mesh of all devices of a host computes on one of them. */
function unlaid(config: RunConfig, { hosts }: PlanTarget): Layout {
  const mesh: Mesh = { fsdp: 1, tensor: 1, expert: 1 };
  const { microbatchSize, activationCheckpointing } = config;
  const memory = deviceMemory(config, mesh);
  return { hosts, hostsPerWorker: 1, mesh, microbatchSize, activationCheckpointing, memory, fits: false };
}

/** The first that fits with a worker a host, and the first where a worker may span hosts if that takes fewer of them. */
function nearestLayouts(config: RunConfig, target: PlanTarget): readonly Layout[] {
  const counts = Array.from({ length: 11 }, (_, i) => target.hosts * 2 ** i).filter((hosts) => hosts <= MOST_HOSTS);
  const found = (hosts: number, hostsPerWorker: number) =>
    layoutsOf(config, target, { hosts, hostsPerWorker }, settingsFor(config, target, hosts, hostsPerWorker)).find(
      ({ fits }) => fits,
    );
  const byHosts = firstOf(counts, (hosts) => found(hosts, 1));
  const fewer = counts.filter((hosts) => hosts < (byHosts?.hosts ?? Number.POSITIVE_INFINITY));
  const spanning = firstOf(fewer, (hosts) => {
    const spans = Array.from({ length: 10 }, (_, i) => 2 ** (i + 1)).filter(
      (span) => hosts % span === 0 && span * target.devicesPerHost <= MOST_MESH_DEVICES,
    );
    return firstOf(spans, (span) => found(hosts, span));
  });
  return [byHosts, spanning].filter((layout) => layout !== undefined);
}

function firstOf<T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The run's own first, then less memory for more time: modes before sizes of a microbatch, which cost nothing. */
function settingsFor(config: RunConfig, { devicesPerHost }: PlanTarget, hosts: number, span: number): Settings[] {
  const workers = hosts / span;
  const most = Math.floor(config.globalBatchSize / workers);
  const sizes = [config.microbatchSize, devicesPerHost * span].filter((size) => size <= most);
  const from = ACTIVATION_CHECKPOINTING.indexOf(config.activationCheckpointing);
  const modes = ACTIVATION_CHECKPOINTING.slice(from);
  return modes.flatMap((activationCheckpointing) =>
    [...new Set(sizes)].map((microbatchSize) => ({ microbatchSize, activationCheckpointing })),
  );
}

/** The settings that make a run what is planned here, in words for `--set`; without those that it has already. */
export function changesTo(config: RunConfig, layout: Layout): readonly string[] {
  const { mesh, hosts, hostsPerWorker, microbatchSize, activationCheckpointing } = layout;
  const workers = hosts / hostsPerWorker;
  const own = config.engine.mesh;
  const isOwn = own !== AUTOMATIC_MESH && meshSize(own) === deviceCount(mesh);
  return [
    ...(workers === config.workers ? [] : [`workers=${workers}`]),
    ...(microbatchSize === config.microbatchSize ? [] : [`microbatchSize=${microbatchSize}`]),
    ...(activationCheckpointing === config.activationCheckpointing
      ? []
      : [`activationCheckpointing=${activationCheckpointing}`]),
    ...(isOwn ? [] : Object.entries(mesh).flatMap(([axis, size]) => (size > 1 ? [`engine.mesh.${axis}=${size}`] : []))),
  ];
}
