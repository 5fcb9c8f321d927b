import { UsageError } from '@weft/command-line';
import { shortPath } from '@weft/files';
import {
  formula,
  type LawInputs,
  lawPlot,
  levelText,
  type PowerLaw,
  type Prediction,
  parameterCounts,
  predict,
} from '@weft/scaling';
import type { CommandContext } from '../context.js';
import { loadLaw, writeOutput } from '../learning-rate/laws.js';
import { intervalText, outsideText, rate, scaleText, valueText } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';

import { resolveRun } from '../resolve-run.js';
import { printLines, span, summaryRows } from '../styled-lines.js';
import { printJson } from '../terminal.js';

/** The options of `weft lr predict`. */
export interface LrPredictOptions {
  readonly params?: number;
  readonly tokens?: number;
  readonly fit: string;
  readonly level: number;
  readonly set?: readonly string[];
  readonly plot?: string;
}

/** `weft lr predict`: η, λ and their interval for a model, and how far it lies outside the law's data. */
export async function lrPredict(
  context: CommandContext,
  recipe: string | undefined,
  options: LrPredictOptions,
): Promise<number> {
  const { terminal, json, home } = context;
  const law = await loadLaw(options.fit, home);
  const at = await resolveScale(recipe, options, home);
  const prediction = predict(law, at, options.level);
  if (options.plot !== undefined)
    await writeOutput(options.plot, lawPlot({ law, predictions: [prediction], level: options.level }));
  if (json) {
    const { source } = law;
    printJson(terminal, { type: 'prediction', ...prediction, formula: formula(law), source });
    return EXIT.done;
  }
  printLines(terminal, [
    [span(`${valueText(prediction)} by ${law.name}`, 'bold')],
    ...summaryRows(predictionRows(prediction, law)),
    ...(options.plot === undefined ? [] : [[span(`  drawn in ${shortPath(options.plot)}`, 'dim')]]),
  ]);
  return EXIT.done;
}

/** N and D as given, or those of a run. */
async function resolveScale(recipe: string | undefined, options: LrPredictOptions, home: string): Promise<LawInputs> {
  const { params, tokens, set } = options;
  const given = { ...(params === undefined ? {} : { params }), ...(tokens === undefined ? {} : { tokens }) };
  if (recipe === undefined) {
    if (set !== undefined)
      throw new UsageError('--set changes fields of a run, but none is named', 'name a recipe or run file');
    if (params === undefined && tokens === undefined)
      throw new UsageError('nothing says how large the model is', 'add --params 30e9, or name a recipe');
    return given;
  }
  const { model, steps, globalBatchSize } = await resolveRun(recipe, { ...(set === undefined ? {} : { set }), home });
  const ofRun = { params: parameterCounts(model).backbone, tokens: steps * globalBatchSize * model.sequenceLength };
  return { ...ofRun, ...given };
}

function predictionRows(prediction: Prediction, law: PowerLaw): [string, string][] {
  const { target, value, weightDecay, interval, level, at } = prediction;
  const where = outsideText(prediction, law);
  return [
    ['at', scaleText(at, law)],
    [target === 'learningRate' ? 'η' : 'B', target === 'learningRate' ? rate(value) : value.toPrecision(4)],
    ...(weightDecay === null ? [] : [['λ', `${rate(weightDecay)}  (0.1·η, fully decoupled)`] as [string, string]]),
    [
      `${levelText(level)} interval`,
      interval !== null ? intervalText(interval) : 'unknown: the scatter around a published law is not published',
    ],
    ['law', formula(law)],
    ['source', law.source],
    ...(where === undefined ? [] : [['its data', where] as [string, string]]),
  ];
}
