import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { PageFit, PagePrediction } from '@weft/contracts';
import { type Home, isMissing } from '@weft/files';
import { type FitReport, formula, type PowerLaw, predict, readFitFile } from '@weft/scaling';

/** So many points of the law are drawn. */
const POINTS = 80;
/** How far the law is drawn beside its data. */
const BEYOND = 30;

/** The fit of a sweep as the page draws it; null where there is none yet, or none at all. */
export async function readFit(home: Home, sweepId: string): Promise<PageFit | null> {
  const text = await readFitText(home, sweepId);
  if (text === undefined) return null;
  const law = readFitFile(text, 'fit.json');
  const { optima, grid, metric, warnings } = JSON.parse(text) as FitReport;
  const sizes = (optima ?? []).flatMap(({ at }) => at.params ?? []);
  const [least, most] = [Math.min(...sizes) / BEYOND, Math.max(...sizes) * BEYOND];
  const at = (part: number) => least * (most / least) ** (part / (POINTS - 1));
  return {
    formula: formula(law),
    rSquared: law.statistics?.rSquared ?? null,
    metric: metric?.name ?? '',
    warnings,
    optima: (optima ?? []).map(({ at: { params = 0 }, value, interval, score, bestTried }) => {
      return { params, value, interval, score, bestTried: bestTried.value };
    }),
    grid: (grid ?? []).map(({ params = 0, value, score }) => ({ params, value, score })),
    law: sizes.length === 0 ? [] : Array.from({ length: POINTS }, (_, part) => predicted(law, at(part))),
  };
}

/** What the law of a sweep says of another size. @throws WeftError `not_found` without a law */
export async function predictFor(home: Home, sweepId: string, params: number): Promise<PagePrediction> {
  const text = await readFitText(home, sweepId);
  if (text === undefined) throw new WeftError('not_found', `the sweep ${sweepId} has no law`);
  return predicted(readFitFile(text, 'fit.json'), params);
}

function predicted(law: PowerLaw, params: number): PagePrediction {
  const { value, weightDecay, interval, outside } = predict(law, { params });
  const [beyond] = outside;
  return {
    params,
    value,
    weightDecay,
    interval,
    outside: beyond === undefined ? null : { side: beyond.side, factor: beyond.factor },
  };
}

async function readFitText(home: Home, sweepId: string): Promise<string | undefined> {
  try {
    return await readFile(join(home.sweepDirectory(sweepId), 'fit.json'), 'utf8');
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  }
}
