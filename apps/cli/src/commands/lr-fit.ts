import { basename } from 'node:path';
import { UsageError } from '@weft/command-line';
import { WeftError } from '@weft/common';
import { shortPath } from '@weft/files';
import {
  type FitReport,
  FORMS,
  type FormName,
  isGrid,
  type LawInputs,
  LOSS,
  lawPlot,
  type Metric,
  predict,
  readPoints,
  reportOnGrid,
  reportOnPoints,
  type Weighting,
  writeFitFile,
} from '@weft/scaling';
import type { CommandContext } from '../context.js';
import { readText, writeOutput } from '../learning-rate/laws.js';
import { renderFit } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';
import { printLines } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

/** The options of `weft lr fit`. */
export interface LrFitOptions {
  readonly form: FormName;
  readonly name?: string;
  readonly level: number;
  readonly metric?: string;
  readonly higherIsBetter?: boolean;
  readonly weights?: Weighting;
  readonly predict?: readonly number[];
  readonly tokens?: number;
  readonly out?: string;
  readonly plot?: string;
}

/** `weft lr fit`: fits a law to points, or to the optima of a grid, and tests it. */
export async function lrFit({ terminal, json }: CommandContext, file: string, options: LrFitOptions): Promise<number> {
  const name = options.name ?? basename(file).replace(/\.\w+$/, '');
  const report = fitText(await readText(file, 'points file'), file, name, options);
  const predictions = predictionScales(options).map((at) => predict(report.law, at, options.level));
  if (options.out !== undefined) {
    const provenance = { createdAt: new Date().toISOString(), metric: metricWords(report), file: basename(file) };
    await writeOutput(options.out, writeFitFile(report, provenance));
  }
  if (options.plot !== undefined) {
    const { law, points, optima } = report;
    const bars = optima?.map(({ interval }) => interval) ?? [];
    const { level } = options;
    await writeOutput(options.plot, lawPlot({ law, points, bars, predictions, title: name, level }));
  }
  if (json) {
    printJson(terminal, { type: 'fit', ...report, predictions });
    return EXIT.done;
  }
  printLines(terminal, renderFit(report, predictions));
  for (const [what, path] of [['fit', options.out] as const, ['picture', options.plot] as const])
    if (path !== undefined) print(terminal, `The ${what} is in ${shortPath(path)}`);
  return EXIT.done;
}

function fitText(text: string, file: string, name: string, options: LrFitOptions): FitReport {
  const { level, metric: column, higherIsBetter = false, weights } = options;
  const form = FORMS[options.form];
  const points = readPoints(text, file, form, column);
  if (isGrid(points, { form })) {
    if (points.some((point) => 'weight' in point))
      throw new WeftError('invalid_argument', `${file}: the runs of a grid have no weights, its optima have`, {
        hint: 'leave the column weight out; see --weights',
      });
    const metric: Metric = { name: column ?? LOSS.name, better: higherIsBetter ? 'higher' : 'lower' };
    const source = `${points.length} runs of ${basename(file)}, by ${metric.name}`;
    return reportOnGrid(points, { name, form, source, level, metric, ...(weights ? { weighting: weights } : {}) });
  }
  for (const [option, isGiven] of [
    ['--metric', column !== undefined],
    ['--higher-is-better', higherIsBetter],
    ['--weights', weights !== undefined],
  ] as const)
    if (isGiven)
      throw new UsageError(`${option} is about a grid, but no scale of ${file} has several rates with a score`);
  if (points.some((point) => 'score' in point && point.score === null))
    throw new WeftError('invalid_argument', `${file}: a scale has one run, and that has no ${LOSS.name}`, {
      hint: 'leave its line out',
    });
  return reportOnPoints(points, { name, form, source: `${points.length} points of ${basename(file)}`, level });
}

function metricWords({ metric }: FitReport): string {
  if (metric === null) return 'as chosen by who wrote the file';
  return `the column ${metric.name}, the ${metric.better} the better`;
}

/** What to predict for: the sizes given, at the tokens given. */
function predictionScales({ form, predict: sizes = [], tokens }: LrFitOptions): LawInputs[] {
  const { variables }: { readonly variables: readonly string[] } = FORMS[form];
  if (!variables.includes('tokens')) return sizes.map((params) => ({ params }));
  if (sizes.length > 0 && tokens === undefined)
    throw new WeftError('invalid_argument', `a law of the form ${form} needs tokens to predict`, {
      hint: 'add --tokens 400e9',
    });
  if (!variables.includes('params')) return tokens === undefined ? [] : [{ tokens }];
  return sizes.map((params) => ({ params, ...(tokens === undefined ? {} : { tokens }) }));
}
