import type { Axis } from './axis.js';
import { element, escapeXml } from './svg.js';

const [WIDTH, HEIGHT] = [720, 460];
/** Where the axes are, in pixels. */
export const FRAME = { left: 78, right: 700, top: 56, bottom: 396 } as const;
export const INK = {
  line: '#1f5fbf',
  band: '#1f5fbf22',
  point: '#15243b',
  prediction: '#c2410c',
  grid: '#e3e7ee',
  text: '#333c4a',
};

/** A white sheet with shapes on it, as the text of an SVG. */
export function sheet(title: string, ...shapes: readonly string[]): string {
  return `${element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      role: 'img',
      'font-family': 'system-ui, sans-serif',
      'font-size': 13,
    },
    element('title', {}, escapeXml(title)),
    element('rect', { width: WIDTH, height: HEIGHT, fill: '#ffffff' }),
    ...shapes,
  )}\n`;
}

/** The title of a picture and the line below it. */
export function headings(title: string, subtitle: string): string[] {
  return [label(title, FRAME.left, 24, { size: 16, weight: 600 }), label(subtitle, FRAME.left, 44, {})];
}

/** The frame with grid lines, marks, numbers and titles. */
export function axes(x: Axis, y: Axis, xTitle: string, yTitle: string): string[] {
  const { left, right, top, bottom } = FRAME;
  const line = (x1: number, y1: number, x2: number, y2: number, stroke: string) =>
    element('line', { x1, y1, x2, y2, stroke });
  return [
    ...x.ticks.map((tick) => line(x.place(tick), top, x.place(tick), bottom, INK.grid)),
    ...y.ticks.map((tick) => line(left, y.place(tick), right, y.place(tick), INK.grid)),
    ...x.smallTicks.map((tick) => line(x.place(tick), bottom, x.place(tick), bottom + 4, INK.text)),
    ...y.smallTicks.map((tick) => line(left - 4, y.place(tick), left, y.place(tick), INK.text)),
    element('rect', { x: left, y: top, width: right - left, height: bottom - top, fill: 'none', stroke: INK.text }),
    ...x.ticks.map((tick) => label(short(tick), x.place(tick), bottom + 20, { anchor: 'middle' })),
    ...y.ticks.map((tick) => label(short(tick), left - 8, y.place(tick) + 4, { anchor: 'end' })),
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

/** A piece of text. */
export function label(
  text: string,
  x: number,
  y: number,
  { anchor, fill = INK.text, size, weight, transform }: LabelStyle,
): string {
  return element(
    'text',
    { x, y, 'text-anchor': anchor, fill, 'font-size': size, 'font-weight': weight, transform },
    escapeXml(text),
  );
}

/** 300000 → "3e5", 0.002 → "0.002", 0.0000715 → "7.15e-5", −0.05 → "−0.05". */
export function short(value: number): string {
  if (value < 0) return `−${short(-value)}`;
  const digits = Number(value.toPrecision(3));
  const isPlain = digits === 0 || (digits >= 0.001 && digits < 10_000);
  return isPlain ? String(digits) : digits.toExponential().replace('e+', 'e');
}
