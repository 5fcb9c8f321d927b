import { join } from 'node:path';
import { count, plural, WEFT_VERSION } from '@weft/common';
import { type Home, makeDirectory, writeFileAtomically } from '@weft/files';
import { dotPlot } from '@weft/scaling';
import type { DrivenSweep, DriverResult } from './drive-runs.js';
import type { GridOutline } from './grid-plan.js';
import { type GridRun, gridRunJson, readGridRun } from './grid-run.js';
import { bestMean, type GridCell, gridCells, valueText } from './grid-summary.js';

/** A grid for the driver: every run trains to its end, and a table and a figure are made of them. */
export function drivenGrid(outline: GridOutline, home: Home): DrivenSweep<GridRun> {
  return {
    id: outline.id,
    read: readGridRun(outline),
    hopeless: () => undefined,
    conclude: async (runs): Promise<DriverResult> => ({ directory: await writeGridFiles(home, outline, runs) }),
  };
}

/**
 * Writes the table of a grid as `table.md` and `table.csv`, its figure as `figure.svg`, and all values of all runs as
 * `results.json`.
 *
 * @returns the directory, below the home's `sweeps`
 */
export async function writeGridFiles(home: Home, outline: GridOutline, runs: readonly GridRun[]): Promise<string> {
  const directory = home.sweepDirectory(outline.id);
  const cells = gridCells(outline, runs);
  await makeDirectory(directory);
  const results = {
    ...{ formatVersion: 1, weftVersion: WEFT_VERSION, createdAt: new Date().toISOString() },
    ...{ id: outline.id, ...outline.grid, measures: outline.measures, cells },
    runs: runs.map(gridRunJson),
  };
  await writeFileAtomically(join(directory, 'table.md'), markdownTable(outline, cells));
  await writeFileAtomically(join(directory, 'table.csv'), csvTable(outline, cells));
  await writeFileAtomically(join(directory, 'figure.svg'), figure(outline, cells));
  await writeFileAtomically(join(directory, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  return directory;
}

/** Every value is the mean over the seeds and its standard error; the best of a column is bold. */
function markdownTable(outline: GridOutline, cells: readonly GridCell[]): string {
  const { grid, measures } = outline;
  const best = measures.map((measure) => bestMean(cells, measure));
  const rows = cells.map(({ labels, values }) => [
    ...labels,
    ...measures.map((measure, i) => {
      const text = valueText(values[measure.title], measure);
      return best[i] !== undefined && best[i] === values[measure.title]?.mean ? `**${text}**` : text;
    }),
  ]);
  const line = (texts: readonly string[]) => `| ${texts.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = [...grid.axes.map(() => '---'), ...measures.map(() => '---:')];
  const head = line([...grid.axes, ...measures.map(({ title }) => title)]);
  return `${[`# ${grid.title}`, '', `${seedsText(outline)}.`, '', head, line(rule), ...rows.map(line)].join('\n')}\n`;
}

/** "Mean of 2 seeds ± its standard error" */
function seedsText({ grid }: GridOutline): string {
  return grid.seeds.length === 1 ? 'One seed' : `Mean of ${count(grid.seeds.length)} seeds ± its standard error`;
}

function csvTable({ id, grid, measures, details }: GridOutline, cells: readonly GridCell[]): string {
  const columns = [...measures, ...details].map(({ title }) => title);
  const rows = cells.map(({ labels, runIds, values }) => [
    ...labels,
    `${runIds.length}`,
    ...columns.flatMap((title) => [rounded(values[title]?.mean), rounded(values[title]?.error)]),
  ]);
  const head = [...grid.axes, 'seeds', ...columns.flatMap((title) => [title, `${title}, standard error`])];
  const line = (fields: readonly (string | number)[]) => fields.map((field) => quoted(`${field}`)).join(',');
  return `${[`# The grid ${id} of weft ${WEFT_VERSION}`, line(head), ...rows.map(line)].join('\n')}\n`;
}

/** To six digits; empty where there is none. */
const rounded = (value: number | null | undefined) => (value == null ? '' : Number(value.toPrecision(6)));

const quoted = (field: string) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);

function figure(outline: GridOutline, cells: readonly GridCell[]): string {
  const { grid, measures } = outline;
  // The last word of a field's path is enough here: the rows show its values.
  const axes = grid.axes.map((axis) => axis.split('.').at(-1)).join(' · ');
  const subtitle = `${axes}; ${plural(cells.length, 'cell')}. ${seedsText(outline)}`;
  return dotPlot({
    title: grid.title,
    subtitle,
    rows: cells.map(({ labels }) => ({ name: labels.join(' · '), group: labels[0] ?? '' })),
    panels: measures.map(({ title }) => ({ title, rows: cells.map(({ values }) => values[title] ?? null) })),
  });
}
