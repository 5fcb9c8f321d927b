import { large, percent } from '@weft/common';
import type { SweepRun } from '@weft/sweeps';
import { type Line, type Span, span } from '../spans.js';
import { table } from '../table.js';

/** Scales down, rates across: what every cell came to, the best of each scale marked; cells at work say how far they are. */
export function gridTable(runs: readonly SweepRun[]): Line[] {
  const rates = [...new Set(runs.map(({ planned }) => planned.learningRate))].toSorted((a, b) => a - b);
  const scales = [...new Set(runs.map(({ planned }) => planned.scale))];
  const rows = scales.map((scale) => {
    const own = runs.filter(({ planned }) => planned.scale === scale);
    const cells = rates.map((rate) => own.filter(({ planned }) => planned.learningRate === rate));
    const means = cells.map(meanScore);
    const best = Math.min(...means.flatMap((mean) => mean ?? []));
    return [
      span(scale, 'bold'),
      large(own[0]?.planned.params ?? 0),
      ...cells.map((cell, i) => cellSpan(cell, means[i] ?? null, means[i] === best)),
    ];
  });
  const titles = [{ title: 'scale' }, { title: 'N' }, ...rates.map((rate) => ({ title: String(rate) }))];
  return table(
    titles.map(({ title }, i) => ({ title, align: i === 0 ? 'left' : 'right' })),
    rows,
  );
}

/** The mean over the seeds, once all have one. */
function meanScore(cell: readonly SweepRun[]): number | null {
  if (cell.length === 0) return null;
  return cell.reduce<number | null>(
    (sum, { score }) => (sum === null || score === null ? null : sum + score / cell.length),
    0,
  );
}

function cellSpan(cell: readonly SweepRun[], mean: number | null, isBest: boolean): Span {
  if (cell.length === 0) return span('');
  if (mean !== null) return isBest ? span(`${mean.toFixed(4)}*`, 'green') : span(mean.toFixed(4));
  if (cell.some(({ givenUp }) => givenUp !== undefined)) return span('given up', 'yellow');
  if (cell.some(({ view }) => view.status === 'failed')) return span('failed', 'red');
  if (cell.every(({ view }) => view.status === 'finished')) return span('diverged', 'yellow');
  const [done, all] = cell.reduce(([done, all], { view }) => [done + view.step, all + view.steps], [0, 0]);
  return done === 0 ? span('·', 'dim') : span(percent(done / all), 'cyan');
}
