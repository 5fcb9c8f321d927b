import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { WeftError } from '@weft/common';
import {
  type At,
  FORMS,
  type FormName,
  isGrid,
  lawPicture,
  predict,
  readPoints,
  reportOnGrid,
  reportOnPoints,
  type Weighting,
  writeFitFile,
} from '@weft/scaling';
import type { CommandContext } from '../context.js';
import { shortPath } from '../home.js';
import { readText } from '../learning-rate/load-law.js';
import { renderFit } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';
import { paint } from '../spans.js';
import { say } from '../terminal.js';

export interface LrFitOptions {
  readonly form: FormName;
  readonly name?: string;
  readonly level: number;
  readonly weights: Weighting;
  readonly predict?: readonly number[];
  readonly tokens?: number;
  readonly out?: string;
  readonly plot?: string;
}

/** `weft lr fit`: a law through points, or through the optima of a grid, and what it is worth. */
export async function lrFit({ terminal, json }: CommandContext, file: string, options: LrFitOptions): Promise<number> {
  const form = FORMS[options.form];
  const points = readPoints(await readText(file, 'points file'), file, form);
  const isOfGrid = isGrid(points, { form });
  const name = options.name ?? basename(file).replace(/\.\w+$/, '');
  const source = `${points.length} ${isOfGrid ? 'runs' : 'points'} of ${basename(file)}`;
  const fitOptions = { name, form, source, level: options.level };
  const report = isOfGrid
    ? reportOnGrid(points.map(asRun), { ...fitOptions, weighting: options.weights })
    : reportOnPoints(points, fitOptions);
  const predictions = placesOf(options).map((at) => predict(report.law, at, options.level));
  if (options.out !== undefined) {
    const metric = isOfGrid ? 'the loss in the file' : 'as chosen by who wrote the file';
    await writeFile(
      options.out,
      writeFitFile(report, { createdAt: new Date().toISOString(), metric, file: basename(file) }),
    );
  }
  if (options.plot !== undefined) {
    const bars = report.optima?.map(({ interval }) => interval) ?? [];
    await writeFile(
      options.plot,
      lawPicture({ law: report.law, points: report.points, bars, predictions, title: name }),
    );
  }
  if (json) {
    say(terminal, JSON.stringify({ type: 'fit', ...report, predictions }));
    return EXIT.done;
  }
  for (const line of renderFit(report, predictions)) say(terminal, paint(line, terminal.colors));
  for (const [what, path] of [['fit', options.out] as const, ['picture', options.plot] as const])
    if (path !== undefined) say(terminal, `The ${what} is in ${shortPath(path)}`);
  return EXIT.done;
}

function asRun(point: ReturnType<typeof readPoints>[number]) {
  return 'loss' in point ? point : { ...point, loss: null };
}

/** What to predict for: the sizes given, at the tokens given. */
function placesOf({ form, predict: sizes = [], tokens }: LrFitOptions): At[] {
  const { variables }: { readonly variables: readonly string[] } = FORMS[form];
  if (!variables.includes('tokens')) return sizes.map((params) => ({ params }));
  if (sizes.length > 0 && tokens === undefined)
    throw new WeftError('invalid_argument', `a law of the form ${form} needs tokens to predict`, {
      cure: 'add --tokens 400e9',
    });
  if (!variables.includes('params')) return tokens === undefined ? [] : [{ tokens }];
  return sizes.map((params) => ({ params, ...(tokens === undefined ? {} : { tokens }) }));
}
