import { assertNever, bytes, count, large, plural, sourceCounts } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { countParameters } from '@weft/model';
import type { CommandContext } from '../context.js';
import { estimateRun, type RunEstimates } from '../estimates.js';
import { sourceSentence } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';
import { type Line, printLines, span, summaryRows } from '../styled-lines.js';
import { printJson } from '../terminal.js';

/** `weft launch --dry-run`: the resolved configuration and estimates from it. Starts nothing and loads nothing native. */
export function dryRun({ terminal, json }: CommandContext, config: RunConfig): number {
  const derived = estimateRun(config, countParameters(config.model));
  if (json) {
    printJson(terminal, { type: 'dryRun', config, derived });
    return EXIT.done;
  }
  const lines = [
    [span('Configuration', 'bold')],
    ...configLines(config, '  '),
    [],
    [span('Estimates', 'bold')],
    ...summaryRows(estimatePairs(config, derived)),
    [],
    [span('Nothing was started.', 'dim')],
  ];
  printLines(terminal, lines);
  return EXIT.done;
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
    ['  connector', large(parameters.connector)],
    ['  decoder', `${large(parameters.decoder)}, without embeddings ${large(parameters.decoderNonEmbedding)}`],
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
      `${bytes(derived.residentBytes)} and activations (weights ${bytes(derived.weightsBytes)}, gradients ${bytes(derived.gradientsBytes)}, AdamW ${bytes(derived.optimizerBytes)})`,
    ],
    ['activations', activations(config, derived)],
    ...expertWorkerPairs(config, derived),
    [experts?.hosts ? 'gradients sent per rank' : 'sent per rank and step', bytes(derived.ringBytesPerStep)],
    ['one checkpoint', bytes(derived.checkpointBytes)],
    ['decoder compute', `${derived.decoderFlops.toExponential(1)} FLOPs (6·N·D)`],
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
