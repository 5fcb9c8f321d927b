import { linearAxis } from './linear-axis.js';
import { logAxis } from './log-axis.js';
import { axes, FRAME, headings, label, sheet } from './paper.js';
import { element, pathThrough } from './svg.js';

type Point = readonly [x: number, y: number];

/** Lines of one colour under one entry of the legend. */
export interface LineGroup {
  readonly name: string;
  /** A colour of SVG. */
  readonly ink: string;
  readonly lines: readonly (readonly Point[])[];
  /** Single values, as circles. */
  readonly dots?: readonly Point[];
}

export interface LinePicture {
  readonly title: string;
  readonly subtitle: string;
  readonly xTitle: string;
  readonly yTitle: string;
  /** A logarithmic axis shows positive values only. */
  readonly yScale: 'linear' | 'logarithmic';
  /** Drawn in this order, so that the last one lies on top. */
  readonly groups: readonly LineGroup[];
}

/** Room beyond the outermost values of a linear axis, as a part of the whole. */
const MARGIN = 0.06;

/** Lines over a linear axis, such as losses over steps, as the text of an SVG. */
export function linePicture({ title, subtitle, xTitle, yTitle, yScale, groups }: LinePicture): string {
  const points = groups.flatMap(({ lines, dots = [] }) => [...lines.flat(), ...dots]);
  const x = linearAxis(
    points.map(([at]) => at),
    FRAME.left,
    FRAME.right,
  );
  const ys = points.map(([, value]) => value);
  const y =
    yScale === 'linear' ? linearAxis(widened(ys), FRAME.bottom, FRAME.top) : logAxis(ys, FRAME.bottom, FRAME.top);
  const placed = ([at, value]: Point): Point => [x.place(at), y.place(value)];
  const shapes = groups.flatMap(({ ink, lines, dots = [] }) => [
    ...lines.map((line) =>
      element('path', { d: pathThrough(line.map(placed)), fill: 'none', stroke: ink, 'stroke-width': 1.25 }),
    ),
    ...dots.map(placed).map(([cx, cy]) => element('circle', { cx, cy, r: 3.5, fill: 'none', stroke: ink })),
  ]);
  return sheet(title, ...axes(x, y, xTitle, yTitle), ...headings(title, subtitle), ...shapes, ...legend(groups));
}

/** In the upper right corner, on white, for lines may pass there. */
function legend(groups: readonly LineGroup[]): string[] {
  const [left, top] = [FRAME.right - 190, FRAME.top + 8];
  return [
    element('rect', { x: left, y: top, width: 182, height: 8 + 20 * groups.length, fill: '#ffffff' }),
    ...groups.flatMap(({ name, ink }, at) => {
      const y = top + 18 + 20 * at;
      return [
        element('line', { x1: left + 8, x2: left + 30, y1: y - 4, y2: y - 4, stroke: ink, 'stroke-width': 3 }),
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
