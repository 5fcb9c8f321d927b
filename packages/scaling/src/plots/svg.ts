import type { Axis } from './axes.js';

const [WIDTH, HEIGHT] = [720, 460];
/** The rectangle of the axes, in pixels. */
export const PLOT_AREA = { left: 78, right: 700, top: 56, bottom: 396 } as const;
/** The colours of plots. */
export const COLORS = {
  line: '#1f5fbf',
  band: '#1f5fbf22',
  point: '#15243b',
  prediction: '#c2410c',
  grid: '#e3e7ee',
  text: '#333c4a',
};

/** A plot as the text of an SVG file, on white, 720 pixels wide and, where nothing else is said, 460 high. */
export function svgDocument(
  what: string | { readonly title: string; readonly height: number },
  ...shapes: readonly string[]
): string {
  const { title, height } = typeof what === 'string' ? { title: what, height: HEIGHT } : what;
  return `${element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${WIDTH} ${height}`,
      width: WIDTH,
      height,
      role: 'img',
      'font-family': 'system-ui, sans-serif',
      'font-size': 13,
    },
    element('title', {}, escapeXml(title)),
    element('rect', { width: WIDTH, height, fill: '#ffffff' }),
    ...shapes,
  )}\n`;
}

/** The title of a plot and the line below it. */
export function headings(title: string, subtitle: string): string[] {
  return [label(title, PLOT_AREA.left, 24, { size: 16, weight: 600 }), label(subtitle, PLOT_AREA.left, 44, {})];
}

/** The frame with grid lines, ticks, numbers and axis titles. */
export function axes(x: Axis, y: Axis, xTitle: string, yTitle: string): string[] {
  const { left, right, top, bottom } = PLOT_AREA;
  const line = (x1: number, y1: number, x2: number, y2: number, stroke: string) =>
    element('line', { x1, y1, x2, y2, stroke });
  return [
    ...x.ticks.map((tick) => line(x.scale(tick), top, x.scale(tick), bottom, COLORS.grid)),
    ...y.ticks.map((tick) => line(left, y.scale(tick), right, y.scale(tick), COLORS.grid)),
    ...x.minorTicks.map((tick) => line(x.scale(tick), bottom, x.scale(tick), bottom + 4, COLORS.text)),
    ...y.minorTicks.map((tick) => line(left - 4, y.scale(tick), left, y.scale(tick), COLORS.text)),
    element('rect', { x: left, y: top, width: right - left, height: bottom - top, fill: 'none', stroke: COLORS.text }),
    ...x.ticks.map((tick) => label(formatNumber(tick), x.scale(tick), bottom + 20, { anchor: 'middle' })),
    ...y.ticks.map((tick) => label(formatNumber(tick), left - 8, y.scale(tick) + 4, { anchor: 'end' })),
    label(xTitle, (left + right) / 2, bottom + 44, { anchor: 'middle' }),
    label(yTitle, 0, 0, { anchor: 'middle', transform: `translate(20 ${(top + bottom) / 2}) rotate(-90)` }),
  ];
}

interface LabelStyle {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly fill?: string;
  readonly size?: number;
  readonly weight?: number;
  readonly transform?: string;
}

/** Text at (x, y), where y is the baseline. */
export function label(
  text: string,
  x: number,
  y: number,
  { anchor, fill = COLORS.text, size, weight, transform }: LabelStyle,
): string {
  return element(
    'text',
    { x, y, 'text-anchor': anchor, fill, 'font-size': size, 'font-weight': weight, transform },
    escapeXml(text),
  );
}

/** An SVG element. Undefined attributes are omitted, numbers are rounded to a hundredth of a pixel. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number | undefined>>,
  ...children: readonly string[]
): string {
  const written = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [` ${key}="${escapeXml(typeof value === 'number' ? pixels(value) : value)}"`],
  );
  const start = `<${name}${written.join('')}`;
  return children.length === 0 ? `${start}/>` : `${start}>${children.join('')}</${name}>`;
}

/** The data of a path through points: "M1 2L3 4…". */
export function pathThrough(points: readonly (readonly [x: number, y: number])[]): string {
  return points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${pixels(x)} ${pixels(y)}`).join('');
}

/** 300000 → "3e5", 0.002 → "0.002", 0.0000715 → "7.15e-5", −0.05 → "−0.05". */
export function formatNumber(value: number): string {
  if (value < 0) return `−${formatNumber(-value)}`;
  const digits = Number(value.toPrecision(3));
  const isPlain = digits === 0 || (digits >= 0.001 && digits < 10_000);
  return isPlain ? String(digits) : digits.toExponential().replace('e+', 'e');
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const pixels = (value: number) => String(Math.round(value * 100) / 100);
