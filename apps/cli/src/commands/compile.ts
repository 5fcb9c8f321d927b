import {
  type AheadPhase,
  type AheadProgram,
  type Chip,
  COMPILER_DOWNLOAD_BYTES,
  type Collectives,
  compileAhead,
  describeMesh,
  findCompiler,
  installCompiler,
  type Mesh,
  readChip,
} from '@weft/backend-pjrt';
import { bytes, duration, plural } from '@weft/common';
import { AUTOMATIC_MESH, AUTOMATIC_PRECISION, allowsMesh, meshSize, type RunConfig } from '@weft/config';
import { fitsCompiled } from '@weft/planning';
import { taskOf } from '@weft/tasks';
import { trainProgram } from '@weft/training';
import type { DevicesName } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { resolveRun } from '../resolve-run.js';
import { printLines, span, summaryRows } from '../styled-lines.js';
import { printJson, type Terminal } from '../terminal.js';

export interface CompileOptions {
  readonly devices: DevicesName;
  readonly hosts: number;
  readonly set?: readonly string[];
}

/** The phases of a step. */
const PHASES = ['gradients', 'measure', 'apply'] as const;

/**
 * `weft compile`: compiles the phases of a training step for GPUs that need not be there, and tells what one of them would
 * hold, send and compute. Starts nothing, and needs neither a driver nor TensorFlow. The exit code is 1 when it does not fit.
 */
export async function compile(context: CommandContext, recipe: string, options: CompileOptions): Promise<number> {
  const { terminal, home, json } = context;
  const { devices, hosts, set = [] } = options;
  const chip = readChip(devices.chip);
  // Whatever engine the run would have here: this is about XLA, and about one process with all of the model.
  const config = await resolveRun(recipe, { set: ['engine.backend=pjrt', 'expertWorkers=0', ...set], home });
  const target: Target = { chip, hosts, gpusPerHost: devices.count };
  const count = hosts * devices.count;
  const program = trainProgram(taskOf(config), config, { layout: count === 1 ? 'joined' : 'separate' });
  const { mesh, phases } = await compileAhead(program, {
    ...target,
    mesh: meshOf(config, count),
    phases: PHASES,
    // Every chip that can be named has bf16.
    precision: config.precision === AUTOMATIC_PRECISION ? 'bf16' : config.precision,
    recompute: config.activationCheckpointing,
    compiler: () => compilerFor(terminal),
    onCompile: ({ phase, seconds, isDone }) => {
      const progress = isDone ? `compiled in ${duration(seconds)}` : `compiling, ${duration(seconds)}`;
      terminal.stderr.write(`${phase}: ${progress}\n`);
    },
  });
  const need = deviceNeed(phases, chip);
  if (json) {
    printJson(terminal, { type: 'compile', recipe, target: describeTarget(target), mesh, need, phases });
    return need.fits ? EXIT.done : EXIT.failed;
  }
  printLines(terminal, [
    [span(`${recipe} on ${describeTarget(target)}`, 'bold')],
    ...summaryRows(rows(config, target, { mesh, phases }, need)),
    [],
    [span(verdict(config, need), need.fits ? 'green' : 'red')],
  ]);
  return need.fits ? EXIT.done : EXIT.failed;
}

interface Target {
  readonly chip: Chip;
  readonly hosts: number;
  readonly gpusPerHost: number;
}

/** The mesh of the settings; a worker's default of one device means here that nobody chose. */
function meshOf(config: RunConfig, devices: number) {
  const { mesh } = config.engine;
  const isOpen = mesh === AUTOMATIC_MESH || (meshSize(mesh) === 1 && devices > 1);
  return isOpen ? { allows: (each: Mesh) => allowsMesh(config, each) } : mesh;
}

async function compilerFor({ stderr }: Terminal) {
  const known = findCompiler();
  if (known !== undefined) return known;
  const megabytes = (COMPILER_DOWNLOAD_BYTES / 1e6).toFixed(0);
  stderr.write(`fetching NVIDIA's compiler, ${megabytes} MB, once\n`);
  return installCompiler({
    onProgress: (progress) => {
      if (progress.stage === 'note') stderr.write(`${progress.text}\n`);
    },
  });
}

/** What one device holds at most, in bytes. */
export interface DeviceNeed {
  /** Weights and the two moments of AdamW. */
  readonly state: number;
  readonly gradients: number;
  /** Of the phase that takes the most: activations, and what the compiler keeps for a while. */
  readonly temporaries: number;
  readonly total: number;
  readonly memory: number;
  readonly fits: boolean;
}

/** @param phases those of a step; `apply` holds the whole state, `gradients` gives the gradients */
export function deviceNeed(phases: readonly AheadPhase[], { memoryBytes }: Pick<Chip, 'memoryBytes'>): DeviceNeed {
  const memoryOf = (name: string) => phases.find(({ phase }) => phase === name)?.memory;
  const state = memoryOf('apply')?.aliases ?? 0;
  const gradients = memoryOf('gradients')?.outputs ?? 0;
  const temporaries = Math.max(...phases.map(({ memory }) => memory.temporaries));
  const total = state + gradients + temporaries;
  return { state, gradients, temporaries, total, memory: memoryBytes, fits: fitsCompiled(total, memoryBytes) };
}

function rows(
  { microbatchSize, globalBatchSize, data }: RunConfig,
  { chip, hosts, gpusPerHost }: Target,
  { mesh, phases }: AheadProgram,
  need: DeviceNeed,
): (readonly [string, string])[] {
  const flops = phases.reduce((sum, phase) => sum + phase.flops, 0);
  const best = flops / (hosts * gpusPerHost * chip.peakBf16TflopPerSecond * 1e12);
  const fused = phases.reduce((sum, phase) => sum + phase.fusedAttentionCalls, 0);
  return [
    ['mesh', describeMesh(mesh)],
    ['state', `${bytes(need.state)} a device (weights and moments)`],
    ['gradients', bytes(need.gradients)],
    ['temporaries', `${bytes(need.temporaries)} (${phases.map(temporariesOf).join(', ')})`],
    ['together', `${bytes(need.total)} of ${bytes(need.memory)}`],
    ['collectives', collectivesText(phases)],
    ['attention', fused > 0 ? `fused, ${plural(fused, 'call')}` : 'not fused'],
    [
      'compute',
      `${(flops / 1e12).toPrecision(3)} TFLOP a microbatch of ${plural(microbatchSize, 'sequence')} with all ${microbatchSize * data.imagesPerSequence} images, ${((flops / 1e12 / microbatchSize) * globalBatchSize).toPrecision(3)} a step; at the chips’ peak ${duration(best)} a microbatch`,
    ],
    ['compiled in', duration(phases.reduce((sum, { compileSeconds }) => sum + compileSeconds, 0))],
  ];
}

function temporariesOf({ phase, memory }: AheadPhase): string {
  return `${phase} ${bytes(memory.temporaries)}`;
}

function collectivesText(phases: readonly AheadPhase[]): string {
  const texts = phases.flatMap(({ phase, collectives, gatheredBytes }) => {
    const gathered = gatheredBytes === 0 ? '' : ` (${bytes(gatheredBytes)} gathered at a time)`;
    return collectives.length === 0 ? [] : [`${phase} ${collectives.map(collectiveText).join(', ')}${gathered}`];
  });
  return texts.length === 0 ? 'none' : texts.join('; ');
}

function collectiveText({ kind, count, bytes: moved }: Collectives): string {
  return `${count} ${kind} of ${bytes(moved)}`;
}

function verdict(config: RunConfig, need: DeviceNeed): string {
  if (need.fits) return 'It fits.';
  const together = `It does not fit: ${bytes(need.total)} of ${bytes(need.memory)}`;
  if (!fitsCompiled(need.state + need.gradients, need.memory)) {
    return `${together}; cut the state over more devices.`;
  }
  if (config.activationCheckpointing !== 'full') return `${together}; set activationCheckpointing=full.`;
  if (config.microbatchSize > 1) return `${together}; make microbatchSize smaller.`;
  return `${together}; use more devices, or a shorter model.sequenceLength.`;
}

function describeTarget({ chip, hosts, gpusPerHost }: Target): string {
  const devices = `${gpusPerHost} × ${chip.name}`;
  return hosts === 1 ? devices : `${hosts} hosts of ${devices}`;
}
