import { describeMesh, readChip } from '@weft/backend-pjrt';
import { bytes, count, duration, percent, plural } from '@weft/common';
import type { RunConfig } from '@weft/config';
import {
  ASSUMED,
  changesTo,
  estimate,
  type Layout,
  type PlannedTime,
  type PlanTarget,
  planRun,
  type RunPlan,
} from '@weft/planning';
import type { PlannedDevices, PlanOptions } from '../arguments.js';
import { type Line, span, summaryRows } from '../styled-lines.js';
import type { CompiledPlan } from './compile-plan.js';

/** InfiniBand of one port: NDR. */
const DEFAULT_NETWORK_GBIT = 400;

/** A plan by formulas, and what it is of. */
export interface MadePlan {
  readonly config: RunConfig;
  readonly target: PlanTarget;
  readonly plan: RunPlan;
  /** What is shown in full, and compiled: the run's own layout if it fits, else the nearest that does. */
  readonly shown: Layout | undefined;
}

/**
 * Plans a run for devices.
 * @throws WeftError `not_found` for an unknown chip
 */
export function makePlan(config: RunConfig, devices: PlannedDevices, options: PlanOptions): MadePlan {
  const { hosts = 1, network = DEFAULT_NETWORK_GBIT, price } = options;
  const chipName = options.chip?.toLowerCase() ?? devices.chip;
  const chip = chipName === undefined ? undefined : readChip(chipName);
  const memoryBytes = Math.min(...[devices.memoryBytes, chip?.memoryBytes].filter((each) => each !== undefined));
  const networkBytesPerSecond = (network * 1e9) / 8;
  const target = { hosts, devicesPerHost: devices.count, memoryBytes, chip, networkBytesPerSecond, price };
  const plan = planRun(config, target);
  const { layout, nearest } = plan;
  return { config, target, plan, shown: layout.fits ? layout : nearest[0] };
}

/**
 * The lines of a plan: whether it fits comes first.
 * @param from where the number of the activations is from: compiled, or why it is the formula's
 */
export function planLines({ config, target, plan, shown }: MadePlan, from: CompiledPlan | string): Line[] {
  const { layout, nearest } = plan;
  const compiled = typeof from === 'string' ? undefined : from;
  const estimates = shown === undefined ? undefined : layout.fits ? plan : estimate(config, target, shown);
  const changes = layout.fits ? changesTo(config, layout) : [];
  return [
    [span(`Plan for ${describeDevices(target, target.hosts)}`, 'bold')],
    verdictLine(config, target, layout, layout.fits ? compiled : undefined),
    ...(layout.fits ? [] : nearestLines(config, target, nearest)),
    ...(changes.length === 0 ? [] : [[span(`  planned with --set ${changes.join(' ')}`)]]),
    ...(plan.faster === null ? [] : [[span(`  ${fasterText(config, plan.faster)}`)]]),
    ...(layout.fits || shown === undefined ? [] : [[], [span(`  With the first of them:`)]]),
    ...(layout.fits || compiled === undefined ? [] : [confirmation(target, compiled)]),
    ...summaryRows([
      ...memoryRows(config, target, shown ?? layout, from),
      ...(estimates === undefined ? [] : workRows(config, target, estimates)),
    ]),
  ];
}

function describeDevices({ devicesPerHost, memoryBytes, chip }: PlanTarget, hosts: number): string {
  const each = chip === undefined ? `${devicesPerHost} × ${bytes(memoryBytes)}` : `${devicesPerHost} × ${chip.name}`;
  return hosts === 1 ? each : `${hosts} hosts of ${each}`;
}

/** What a compiler for the chip says of the layout that is shown. */
export function compiledLines({ config, target, shown, plan }: MadePlan, compiled: CompiledPlan): Line[] {
  const { layout } = plan;
  const verdict = layout.fits ? verdictLine(config, target, layout, compiled) : confirmation(target, compiled);
  const rows = shown === undefined ? [] : memoryRows(config, target, shown, compiled).slice(-2);
  return [[span('By the compiler', 'bold')], verdict, ...summaryRows(rows)];
}

function confirmation({ memoryBytes }: PlanTarget, { total, fits }: CompiledPlan): Line {
  const needed = `${bytes(total)} of ${bytes(memoryBytes)} a device`;
  return [span(`  The compiler says that it ${fits ? 'fits' : 'does not fit'}: ${needed}.`, fits ? 'green' : 'red')];
}

function verdictLine(config: RunConfig, target: PlanTarget, layout: Layout, compiled: CompiledPlan | undefined): Line {
  const fits = compiled?.fits ?? layout.fits;
  return [span(`  ${verdict(config, target, layout, compiled)}`, fits ? 'green' : 'red')];
}

function verdict(
  config: RunConfig,
  { memoryBytes, devicesPerHost }: PlanTarget,
  { mesh, memory, fits: fitsByFormula }: Layout,
  compiled: CompiledPlan | undefined,
): string {
  const { total, fits } = compiled ?? { total: memory.total, fits: fitsByFormula };
  const needed = `${bytes(total)} of ${bytes(memoryBytes)} a device`;
  if (fits) return `It fits: ${needed}, mesh ${describeMesh(mesh)}.`;
  const settings = `microbatchSize ${config.microbatchSize}, activationCheckpointing ${config.activationCheckpointing}`;
  const isAlone = describeMesh(mesh) === '1 device' && devicesPerHost > 1;
  const best = isAlone ? `which allow no mesh of ${devicesPerHost} devices` : `best mesh ${describeMesh(mesh)}`;
  return `It does not fit with ${settings}, ${best}: ${needed}.`;
}

function nearestLines(config: RunConfig, target: PlanTarget, nearest: readonly Layout[]): Line[] {
  if (nearest.length === 0)
    return [[span('  Nothing nearby fits either: make the model, its sequences or the images of a sequence smaller.')]];
  return nearest.map((layout) => {
    const spanning =
      layout.hostsPerWorker === 1
        ? ''
        : ` (one worker over ${layout.hostsPerWorker} hosts: \`weft compile\` compiles that, but a worker uses one host)`;
    const settings = changesTo(config, layout).join(' ');
    return [
      span(
        `  It fits on ${describeDevices(target, layout.hosts)}: ${bytes(layout.memory.total)}, --set ${settings}`,
        'cyan',
      ),
      span(spanning),
    ];
  });
}

function fasterText(config: RunConfig, { layout, time }: NonNullable<RunPlan['faster']>): string {
  return `faster: ${duration(time.runSeconds)} with --set ${changesTo(config, layout).join(' ')}`;
}

type Row = readonly [string, string];

function memoryRows(
  config: RunConfig,
  { memoryBytes }: PlanTarget,
  { memory, mesh }: Layout,
  from: CompiledPlan | string,
): Row[] {
  const { temporaries, total } =
    typeof from === 'string' ? { temporaries: memory.activations, total: memory.total } : from;
  const origin = typeof from === 'string' ? from : compiledText(from, memory.activations);
  const remote = config.expertWorkers === 0 ? '' : ', without the experts, which are in expert workers';
  return [
    ['mesh', describeMesh(mesh)],
    ['weights', `${bytes(memory.weights)} a device${remote}`],
    ['gradients', bytes(memory.gradients)],
    ['optimizer', bytes(memory.optimizer)],
    ['activations', `${bytes(temporaries)}, gathered weights and logits among them (${origin})`],
    ['together', `${bytes(total)} of ${bytes(memoryBytes)} (${percent(total / memoryBytes)})`],
  ];
}

function compiledText({ compiled }: CompiledPlan, formula: number): string {
  const seconds = duration(compiled.reduce((sum, each) => sum + each.seconds, 0));
  const depths = compiled
    .map(({ decoderLayers, encoderLayers }) => `${decoderLayers} + ${encoderLayers}`)
    .join(' and ');
  const how =
    compiled.length === 1 ? 'compiled' : `compiled with ${depths} layers of decoder and encoder, and extended`;
  return `${how} in ${seconds}; the formula says ${bytes(formula)}`;
}

function workRows({ steps, model }: RunConfig, target: PlanTarget, estimates: ReturnType<typeof estimate>): Row[] {
  const { flops, traffic, time, microbatchesPerStep } = estimates;
  const again = flops.again === 0 ? '' : `, and ${pflop(flops.again)} computed again`;
  const tokens = model.decoder.moe === null ? '' : ', without what MoE layers send for tokens';
  return [
    ['microbatches', `${microbatchesPerStep} a step and worker`],
    ['compute', `${pflop(flops.step)} a step, ${percent(flops.images / flops.step)} of it for images${again}`],
    ['inside a host', `${bytes(traffic.insideHost)} sent by a device a step${tokens}`],
    ['between hosts', traffic.betweenHosts === 0 ? 'nothing' : `${bytes(traffic.betweenHosts)} sent by a host a step`],
    ...(time === null
      ? [['time', 'name the GPUs, such as --chip h100, to estimate it'] as const]
      : timeRows(time, steps, target)),
  ];
}

function timeRows(time: PlannedTime, steps: number, { networkBytesPerSecond }: PlanTarget): Row[] {
  const { stepSeconds, computeSeconds, insideHostSeconds, betweenHostsSeconds, mfu, runSeconds, cost } = time;
  const parts = `products ${duration(computeSeconds)}, inside a host ${duration(insideHostSeconds)}, between hosts ${duration(betweenHostsSeconds)}`;
  const network = (networkBytesPerSecond * 8) / 1e9;
  return [
    ['a step', `${duration(stepSeconds)} (${parts}, partly beside each other)`],
    ['MFU', percent(mfu)],
    ['the run', `${(runSeconds / 86_400).toPrecision(3)} days for ${plural(steps, 'step')}`],
    ...(cost === null ? [] : [['cost', count(cost)] as const]),
    [
      'assumed',
      `products at ${percent(ASSUMED.products)} of the peak, links at ${percent(ASSUMED.links)}, ${network} Gbit/s a host: not measured`,
    ],
  ];
}

function pflop(flops: number): string {
  return flops >= 1e15 ? `${(flops / 1e15).toPrecision(3)} PFLOP` : `${(flops / 1e12).toPrecision(3)} TFLOP`;
}
