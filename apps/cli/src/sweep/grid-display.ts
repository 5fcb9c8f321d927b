import { percent } from '@weft/common';
import { bestMean, type GridOutline, type GridRun, gridCells, gridRunJson, valueText } from '@weft/sweeps';
import { type Line, type Span, span, table } from '../styled-lines.js';
import type { RunPresentation } from './sweep-display.js';

/** How the runs of a grid are shown. */
export function gridRuns(outline: GridOutline): RunPresentation<GridRun> {
  return {
    json: gridRunJson,
    sentence: (run) => endSentence(outline, run),
    table: (runs) => renderCells(outline, runs),
  };
}

function endSentence({ measures }: GridOutline, { planned, view, values }: GridRun): string {
  const { cell, first, seed } = planned;
  const name = first === null ? cell.join(' · ') : `first ${first}`;
  const scores = measures.flatMap((measure) => {
    const value = values[measure.title] ?? null;
    return value === null ? [] : [`${measure.title} ${valueText({ mean: value, error: null, values: [] }, measure)}`];
  });
  const what = view.status === 'finished' && scores.length > 0 ? scores.join(', ') : view.status;
  return `${name}, seed ${seed}: ${what}${view.status === 'failed' ? `, ${view.reason}` : ''}`;
}

/** A row for every run that others begin from, and for every cell: its values, the best marked; of running ones, how far they are. */
export function renderCells(outline: GridOutline, runs: readonly GridRun[]): Line[] {
  const { grid, measures } = outline;
  const cells = gridCells(outline, runs);
  const isDone = runs.every(({ view }) => view.status === 'finished');
  const best = measures.map((measure) => (isDone ? bestMean(cells, measure) : undefined));
  const rows = cells.map(({ labels, values, runIds }) => {
    const own = runs.filter(({ view }) => runIds.includes(view.runId));
    return [
      ...labels.map((text) => span(text, 'bold')),
      ...measures.map((measure, i) => {
        const text = valueText(values[measure.title], measure);
        return best[i] !== undefined && best[i] === values[measure.title]?.mean
          ? span(`${text}*`, 'green')
          : span(text);
      }),
      progressSpan(own),
    ];
  });
  const names = [...new Set(runs.flatMap(({ planned }) => planned.first ?? []))];
  const firstRows = names.map((name) => [
    span(`first ${name}`, 'bold'),
    ...[...grid.axes.slice(1), ...measures].map(() => ''),
    progressSpan(runs.filter(({ planned }) => planned.first === name)),
  ]);
  const columns = [
    ...grid.axes.map((title) => ({ title })),
    ...measures.map(({ title }) => ({ title, align: 'right' as const })),
    { title: '' },
  ];
  return table(columns, [...firstRows, ...rows]);
}

function progressSpan(runs: readonly GridRun[]): Span {
  if (runs.every(({ view }) => view.status === 'finished')) return span('');
  if (runs.some(({ view }) => view.status === 'failed')) return span('failed', 'red');
  if (runs.some(({ view }) => view.status === 'stopped')) return span('stopped', 'yellow');
  const [done, all] = runs.reduce(([done, all], { view }) => [done + view.step, all + view.steps], [0, 0]);
  return done === 0 ? span('·', 'dim') : span(percent(done / all), 'cyan');
}
