import { linearAxis } from './axes.js';
import { COLORS, element, headings, label, PLOT_AREA, svgDocument } from './svg.js';

/** Bars of one colour, with one entry in the legend. */
export interface BarSeries {
  readonly name: string;
  /** An SVG colour. */
  readonly color: string;
  /** A bar for each row, in order; null where there is none. */
  readonly values: readonly (number | null)[];
}

/** What `barPlot` draws. */
export interface BarPlotOptions {
  readonly title: string;
  readonly subtitle: string;
  readonly xTitle: string;
  /** The names of the rows, from the top. */
  readonly rows: readonly string[];
  readonly series: readonly BarSeries[];
}

/** Where bars begin: beside the names of the rows. */
const BARS_LEFT = 190;
const BARS_RIGHT = 650;
const [BAR_HEIGHT, ROW_GAP] = [12, 10];
/** Characters of a name that find space beside the bars. */
const LONGEST_NAME = 24;

/** Bars side by side for every row, each with its value, as the text of an SVG file. Values are of at least 0. */
export function barPlot({ title, subtitle, xTitle, rows, series }: BarPlotOptions): string {
  const rowHeight = series.length * BAR_HEIGHT + ROW_GAP;
  const top = PLOT_AREA.top + 28;
  const bottom = top + rows.length * rowHeight;
  const values = series.flatMap((each) => each.values).filter((value) => value !== null);
  const x = linearAxis([0, ...values, 1], BARS_LEFT, BARS_RIGHT);
  const shapes = rows.flatMap((row, r) => {
    const rowTop = top + r * rowHeight + ROW_GAP / 2;
    const bars = series.flatMap(({ color, values }, s) => {
      const value = values[r] ?? null;
      if (value === null) return [];
      const y = rowTop + s * BAR_HEIGHT;
      const width = Math.max(1, x.scale(value) - BARS_LEFT);
      return [
        element('rect', { x: BARS_LEFT, y, width, height: BAR_HEIGHT - 2, fill: color }),
        label(value.toFixed(1), BARS_LEFT + width + 5, y + BAR_HEIGHT - 3, { size: 11 }),
      ];
    });
    const middle = rowTop + (series.length * BAR_HEIGHT) / 2 + 3;
    const name = row.length > LONGEST_NAME ? `${row.slice(0, LONGEST_NAME - 1)}…` : row;
    return [label(name, BARS_LEFT - 10, middle, { anchor: 'end' }), ...bars];
  });
  const grid = x.ticks.flatMap((tick) => [
    element('line', { x1: x.scale(tick), x2: x.scale(tick), y1: top, y2: bottom, stroke: COLORS.grid }),
    label(`${tick}`, x.scale(tick), bottom + 18, { anchor: 'middle' }),
  ]);
  const axis = element('line', { x1: BARS_LEFT, x2: BARS_LEFT, y1: top, y2: bottom, stroke: COLORS.text });
  const xLabel = label(xTitle, (BARS_LEFT + BARS_RIGHT) / 2, bottom + 42, { anchor: 'middle' });
  return svgDocument(
    { title, height: bottom + 60 },
    ...headings(title, subtitle),
    ...legend(series),
    ...grid,
    ...shapes,
    axis,
    xLabel,
  );
}

/** In a line above the bars. */
function legend(series: readonly BarSeries[]): string[] {
  const y = PLOT_AREA.top + 14;
  let x = BARS_LEFT;
  return series.flatMap(({ name, color }) => {
    const left = x;
    x += 40 + 8 * name.length;
    return [element('rect', { x: left, y: y - 9, width: 12, height: 10, fill: color }), label(name, left + 18, y, {})];
  });
}
