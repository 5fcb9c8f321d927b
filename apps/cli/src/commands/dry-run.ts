import { assertNever, bytes, count, large, plural, sourceCounts } from '@weft/common';
import { AUTOMATIC_PRECISION, isEncoderTask, type RunConfig } from '@weft/config';
import type { Bf16Support } from '@weft/training';
import type { PlanOptions } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { estimateRun, type RunEstimates } from '../estimates.js';
import { sourceSentence } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';
import { type Line, printLines, span, summaryRows } from '../styled-lines.js';
import { printJson } from '../terminal.js';

/**
 * `weft launch --dry-run`: the resolved configuration and estimates from it, and with `--devices` first a plan for them.
 * Starts nothing and computes nothing. The exit code is 1 where the run does not fit the devices.
 */
export async function dryRun(context: CommandContext, config: RunConfig, options: PlanOptions = {}): Promise<number> {
  const { terminal, json } = context;
  const { devices } = options;
  const planned =
    devices === undefined
      ? undefined
      : await (await import('../plan/show-plan.js')).showPlan(context, config, devices, options);
  const exitCode = planned === undefined || planned.fits ? EXIT.done : EXIT.failed;
  const { taskOf } = await import('@weft/tasks');
  const derived = estimateRun(config, taskOf({ ...config, expertWorkers: 0 }).parameters);
  const precision = await precisionHere(config);
  if (json) {
    printJson(terminal, {
      type: 'dryRun',
      config,
      derived,
      ...(precision === undefined ? {} : { precision }),
      ...(planned === undefined ? {} : { plan: planned.plan }),
    });
    return exitCode;
  }
  const lines = [
    ...(planned === undefined ? [] : [...planned.lines, []]),
    [span('Configuration', 'bold')],
    ...configLines(config, '  '),
    [],
    [span('Estimates', 'bold')],
    ...summaryRows([
      ...(precision === undefined ? [] : [['precision', precision] as const]),
      ...estimatePairs(config, derived),
    ]),
    [],
    [span('Nothing was started.', 'dim')],
  ];
  printLines(terminal, lines);
  return exitCode;
}

/** What this machine has to say of the run's precision; undefined where there is nothing to say. */
async function precisionHere(config: RunConfig): Promise<string | undefined> {
  if (config.precision === 'fp32') return undefined;
  const { bf16Support, computeHost } = await import('@weft/training');
  return describePrecision(config, bf16Support(config.engine.backend, computeHost()));
}

/** What becomes of a run's precision on a machine: what `auto` would be, and a warning where bf16 is emulated. */
export function describePrecision({ precision }: RunConfig, { isNative, reason }: Bf16Support): string | undefined {
  if (precision === AUTOMATIC_PRECISION)
    return `auto: bf16 where every worker has it; this machine: ${isNative ? 'bf16' : 'fp32'} (${reason})`;
  if (precision === 'fp32' || isNative) return undefined;
  return `bf16, which this machine would emulate more slowly than fp32 (${reason}); auto takes bf16 only where every worker has it`;
}

/** The fields in the form of a run file, to be copied into one. */
export function configLines(group: object, indent: string): Line[] {
  return Object.entries(group).flatMap(([name, value]: [string, unknown]): Line[] => {
    if (typeof value === 'object' && value !== null)
      return [[span(`${indent}${name}:`)], ...configLines(value, `${indent}  `)];
    return [[span(`${indent}${name}: `), span(scalar(value), 'cyan')]];
  });
}

/** YAML reads `.5` and `no` as a number and a boolean, so only plain words stay unquoted. */
function scalar(value: unknown): string {
  if (typeof value !== 'string') return String(value);
  return /^[A-Za-z./][\w./-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value)
    ? value
    : JSON.stringify(value);
}

const OPTIMIZER_NAMES = { adamw: 'AdamW', adafactor: 'AdaFactor' } as const;

function estimatePairs(config: RunConfig, derived: RunEstimates): (readonly [string, string])[] {
  const { parameters, experts } = derived;
  const inRun = sourceCounts(derived.sequencesTotal);
  const inStep = Object.entries(derived.sequencesPerStep)
    .map(([source, mean]) => `${source} ${sequences(mean)}`)
    .join(', ');
  const { learningRateSource: source } = config;
  return [
    ...(source === null ? [] : [['learning rate', sourceSentence(source).replace('learning rate ', '')] as const]),
    ['parameters', `${large(parameters.total)} (${count(parameters.total)})`],
    ...(experts === null ? [] : [['  used by one token', large(parameters.active)] as const]),
    ['  vision', large(parameters.vision)],
    ...partPairs(config, derived),
    ...expertPairs(derived),
    ['tokens per step', `${count(derived.tokensPerStep)} (${config.globalBatchSize} × ${config.model.sequenceLength})`],
    ['tokens in the run', large(derived.tokensTotal)],
    ['sequences per step', inStep],
    ['sequences in the run', inRun],
    [
      'each of the ranks',
      `at most ${plural(derived.sequencesPerRank, 'sequence')} a step, in ${derived.microbatchesPerRank === 1 ? 'one microbatch' : `${derived.microbatchesPerRank} microbatches`}`,
    ],
    ['images per microbatch', `at most ${count(derived.mostImagesPerMicrobatch)}`],
    [
      'memory per worker',
      `${bytes(derived.residentBytes)} and activations (weights ${bytes(derived.weightsBytes)}, gradients ${bytes(derived.gradientsBytes)}, ${OPTIMIZER_NAMES[config.optimizer.kind]} ${bytes(derived.optimizerBytes)})`,
    ],
    ['activations', activations(config, derived)],
    ...expertWorkerPairs(config, derived),
    [experts?.hosts ? 'gradients sent per rank' : 'sent per rank and step', bytes(derived.ringBytesPerStep)],
    ['one checkpoint', bytes(derived.checkpointBytes)],
    ...(isEncoderTask(config.task)
      ? []
      : [['decoder compute', `${derived.decoderFlops.toExponential(1)} FLOPs (6·N·D)`] as const]),
  ];
}

/** What there is beside the vision encoder. */
function partPairs({ task }: RunConfig, { parameters }: RunEstimates): (readonly [string, string])[] {
  if (isEncoderTask(task)) {
    const what = task.kind === 'contrastive' ? 'text tower and projections' : 'head';
    return [[`  ${what}`, large(parameters.total - parameters.vision)]];
  }
  return [
    ['  connector', large(parameters.connector)],
    ['  decoder', `${large(parameters.decoder)}, without embeddings ${large(parameters.decoderNonEmbedding)}`],
  ];
}

/** What a microbatch adds to the memory above; in words, because it depends on the engine. */
function activations({ activationCheckpointing }: RunConfig, { blockInputBytes }: RunEstimates): string {
  const inputs = `the blocks’ inputs (${bytes(blockInputBytes)})`;
  switch (activationCheckpointing) {
    case 'none':
      return `everything the backward pass reads is kept; activationCheckpointing: full would keep ${inputs}`;
    case 'selective':
      return `products with weights and ${inputs} are kept, the rest is recomputed block by block`;
    case 'full':
      return `${inputs} are kept, the rest is recomputed block by block`;
    default:
      return assertNever(activationCheckpointing);
  }
}

function expertPairs({ parameters, experts }: RunEstimates): (readonly [string, string])[] {
  if (experts === null) return [];
  const { layers, perLayer, slotsPerMicrobatch } = experts;
  return [
    ['  experts', `${large(parameters.experts)}, ${perLayer} in each of ${plural(layers, 'layer')}`],
    ['rows for experts', `at most ${count(slotsPerMicrobatch)} per layer and microbatch`],
  ];
}

function expertWorkerPairs({ expertWorkers }: RunConfig, { experts }: RunEstimates): (readonly [string, string])[] {
  if (experts === null || experts.hosts === null) return [];
  const { mostExperts, residentBytes, rowsPerStep, bytesPerStep } = experts.hosts;
  return [
    [
      'memory per expert worker',
      `${bytes(residentBytes)} and activations (at most ${plural(mostExperts, 'expert')} of every layer, on ${plural(expertWorkers, 'expert worker')})`,
    ],
    [
      'tokens exchanged per step',
      `at most ${count(rowsPerStep)} to experts, ${bytes(bytesPerStep)} to and fro, forward and backward`,
    ],
  ];
}

function sequences(mean: number): string {
  return Number.isInteger(mean) ? count(mean) : `about ${mean.toFixed(mean < 10 ? 1 : 0)}`;
}
