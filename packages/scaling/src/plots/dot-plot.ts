import { linearAxis } from './axes.js';
import { COLORS, element, formatNumber, headings, label, PLOT_AREA, svgDocument } from './svg.js';

/** A value measured several times. */
export interface RepeatedValue {
  readonly mean: number;
  /** Half the length of the error bar; null where there is only one value. */
  readonly error: number | null;
  readonly values: readonly number[];
}

/** What was measured of every row. */
export interface DotPanel {
  readonly title: string;
  /** For each row, from the top; null where there is none. */
  readonly rows: readonly (RepeatedValue | null)[];
}

/** What `dotPlot` draws. */
export interface DotPlotOptions {
  readonly title: string;
  readonly subtitle: string;
  /** The names of the rows, from the top. Rows of one group have one colour and stand together. */
  readonly rows: readonly { readonly name: string; readonly group: string }[];
  /** Side by side, each with an axis of its own. */
  readonly panels: readonly DotPanel[];
}

const GROUP_COLORS = ['#1f5fbf', '#c2410c', '#15803d', '#7c3aed', '#b45309', '#0e7490', '#be185d', '#4d7c0f'];
const [ROW_HEIGHT, GROUP_GAP, PANEL_GAP] = [20, 10, 18];
const LEFT = 20;
/** Pixels of a character in the names of rows. */
const CHARACTER = 6.6;
const WIDEST_NAMES = 250;
/** Free space beyond the outermost values, as a fraction of their distance. */
const MARGIN = 0.1;

/** Rows of measured values, a panel for each measure: every single value, their mean, and its error, as an SVG file. */
export function dotPlot({ title, subtitle, rows, panels }: DotPlotOptions): string {
  const groups = [...new Set(rows.map(({ group }) => group))];
  const colorOf = (group: string) => GROUP_COLORS[groups.indexOf(group) % GROUP_COLORS.length] ?? COLORS.line;
  const namesRight = LEFT + Math.min(WIDEST_NAMES, Math.max(...rows.map(({ name }) => name.length)) * CHARACTER);
  const top = PLOT_AREA.top + 34;
  const ys: number[] = [];
  rows.forEach(({ group }, i) => {
    const before = ys.at(-1) ?? top - ROW_HEIGHT / 2;
    ys.push(before + ROW_HEIGHT + (i > 0 && rows[i - 1]?.group !== group ? GROUP_GAP : 0));
  });
  const bottom = (ys.at(-1) ?? top) + ROW_HEIGHT / 2 + 6;
  const width = (PLOT_AREA.right - namesRight - PANEL_GAP * panels.length) / panels.length;
  const names = rows.map(({ name }, i) =>
    label(shortened(name), namesRight, (ys[i] ?? 0) + 4, { anchor: 'end', size: 12 }),
  );
  const drawn = panels.flatMap((panel, p) => {
    const left = namesRight + PANEL_GAP + p * (width + PANEL_GAP);
    return panelShapes(panel, { left, right: left + width, top, bottom }, ys, (row) => colorOf(rows[row]?.group ?? ''));
  });
  return svgDocument({ title, height: bottom + 34 }, ...headings(title, subtitle), ...names, ...drawn);
}

function panelShapes(
  { title, rows }: DotPanel,
  { left, right, top, bottom }: { left: number; right: number; top: number; bottom: number },
  ys: readonly number[],
  colorOf: (row: number) => string,
): string[] {
  const values = rows.flatMap((row) =>
    row === null ? [] : [...row.values, row.mean - (row.error ?? 0), row.mean + (row.error ?? 0)],
  );
  const frame = element('rect', {
    ...{ x: left, y: top, width: right - left, height: bottom - top, fill: 'none', stroke: COLORS.grid },
  });
  const heading = label(title, (left + right) / 2, top - 8, { anchor: 'middle', weight: 600 });
  if (values.length === 0) return [frame, heading];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || Math.abs(high) || 1) * MARGIN;
  const x = linearAxis([low - margin, high + margin], left, right);
  // As many numbers as find space beside one another.
  const stride = Math.ceil((x.ticks.length * 44) / (right - left));
  const grid = x.ticks.flatMap((tick, i) => [
    element('line', { x1: x.scale(tick), x2: x.scale(tick), y1: top, y2: bottom, stroke: COLORS.grid }),
    ...(i % stride === 0
      ? [label(formatNumber(tick), x.scale(tick), bottom + 18, { anchor: 'middle', size: 12 })]
      : []),
  ]);
  const shapes = rows.flatMap((row, i) => {
    if (row === null) return [];
    const [y, color] = [ys[i] ?? 0, colorOf(i)];
    const error = row.error ?? 0;
    const ends = [x.scale(row.mean - error), x.scale(row.mean + error)];
    return [
      ...row.values.map((value) =>
        element('circle', { cx: x.scale(value), cy: y, r: 3, fill: color, 'fill-opacity': 0.3 }),
      ),
      element('line', { x1: ends[0], x2: ends[1], y1: y, y2: y, stroke: color, 'stroke-width': 2 }),
      ...ends.map((end) =>
        element('line', { x1: end, x2: end, y1: y - 4, y2: y + 4, stroke: color, 'stroke-width': 2 }),
      ),
      element('circle', { cx: x.scale(row.mean), cy: y, r: 4.5, fill: color }),
    ];
  });
  return [...grid, frame, heading, ...shapes];
}

function shortened(name: string): string {
  const most = Math.floor(WIDEST_NAMES / CHARACTER);
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}
