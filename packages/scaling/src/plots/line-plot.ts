import { linearAxis, logAxis } from './axes.js';
import { axes, element, headings, label, PLOT_AREA, pathThrough, svgDocument } from './svg.js';

type Point = readonly [x: number, y: number];

/** Lines and circles of one colour, with one entry in the legend. */
export interface LineGroup {
  readonly name: string;
  /** An SVG colour. */
  readonly color: string;
  readonly lines: readonly (readonly Point[])[];
  /** Single values, as circles. */
  readonly dots?: readonly Point[];
}

/** What `linePlot` draws. */
export interface LinePlotOptions {
  readonly title: string;
  readonly subtitle: string;
  readonly xTitle: string;
  readonly yTitle: string;
  /** A logarithmic axis requires positive values. */
  readonly yScale: 'linear' | 'logarithmic';
  /** Drawn in this order: the last one is on top. */
  readonly groups: readonly LineGroup[];
}

/** Free space beyond the outermost values of a linear axis, as a fraction of their distance. */
const MARGIN = 0.06;

/** Lines over a linear axis, such as losses over steps, as the text of an SVG file. */
export function linePlot({ title, subtitle, xTitle, yTitle, yScale, groups }: LinePlotOptions): string {
  const points = groups.flatMap(({ lines, dots = [] }) => [...lines.flat(), ...dots]);
  const x = linearAxis(
    points.map(([at]) => at),
    PLOT_AREA.left,
    PLOT_AREA.right,
  );
  const ys = points.map(([, value]) => value);
  const y =
    yScale === 'linear'
      ? linearAxis(widened(ys), PLOT_AREA.bottom, PLOT_AREA.top)
      : logAxis(ys, PLOT_AREA.bottom, PLOT_AREA.top);
  const toPixels = ([at, value]: Point): Point => [x.scale(at), y.scale(value)];
  const shapes = groups.flatMap(({ color, lines, dots = [] }) => [
    ...lines.map((line) =>
      element('path', { d: pathThrough(line.map(toPixels)), fill: 'none', stroke: color, 'stroke-width': 1.25 }),
    ),
    ...dots.map(toPixels).map(([cx, cy]) => element('circle', { cx, cy, r: 3.5, fill: 'none', stroke: color })),
  ]);
  return svgDocument(title, ...axes(x, y, xTitle, yTitle), ...headings(title, subtitle), ...shapes, ...legend(groups));
}

/** In the upper right corner, on white because lines may pass there. */
function legend(groups: readonly LineGroup[]): string[] {
  const [left, top] = [PLOT_AREA.right - 190, PLOT_AREA.top + 8];
  return [
    element('rect', { x: left, y: top, width: 182, height: 8 + 20 * groups.length, fill: '#ffffff' }),
    ...groups.flatMap(({ name, color }, at) => {
      const y = top + 18 + 20 * at;
      return [
        element('line', { x1: left + 8, x2: left + 30, y1: y - 4, y2: y - 4, stroke: color, 'stroke-width': 3 }),
        label(name, left + 38, y, {}),
      ];
    }),
  ];
}

function widened(values: readonly number[]): readonly number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || 1) * MARGIN;
  return [low - margin, high + margin];
}
