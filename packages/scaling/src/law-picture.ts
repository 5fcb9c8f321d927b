import { formula, type PowerLaw, SYMBOLS, type Variable } from './law.js';
import { type LogAxis, logAxis } from './log-axis.js';
import { axes, FRAME, HEIGHT, INK, label, short, WIDTH } from './paper.js';
import type { ScalePoint } from './points.js';
import { DEFAULT_LEVEL, type Prediction, predict } from './predict.js';
import { element, escapeXml, pathThrough } from './svg.js';

export interface LawPicture {
  readonly law: PowerLaw;
  /** Drawn as dots; none for a published law. */
  readonly points?: readonly ScalePoint[];
  /** The uncertainty of each point's own optimum, as a bar; in the order of the points. */
  readonly bars?: readonly ({ readonly low: number; readonly high: number } | null)[];
  /** Drawn as diamonds, with their interval and a label. */
  readonly predictions?: readonly Prediction[];
  readonly title?: string;
}

const CURVE_STEPS = 64;
const AXIS_TITLES: Readonly<Record<Variable | 'learningRate' | 'batchSize', string>> = {
  params: 'N, non-embedding parameters',
  tokens: 'D, tokens',
  learningRate: 'η, peak learning rate',
  batchSize: 'B, tokens per step',
};

/**
 * Points, line, prediction band and predictions of a law on logarithmic axes, as the text of an SVG.
 * A law of two variables is drawn along its first one; the second is held where the last prediction or point has it.
 */
export function lawPicture({ law, points = [], bars = [], predictions = [], title }: LawPicture): string {
  const variable = law.variables[0] ?? 'params';
  const held = predictions.at(-1)?.at ?? points.at(-1) ?? {};
  const shown = [...points.map((point) => point[variable]), ...predictions.map(({ at }) => at[variable])];
  const range = law.ranges[0];
  const xs = widened([...shown.flatMap((value) => value ?? []), ...(range ? [range.low, range.high] : [])]);
  const x = logAxis(xs, FRAME.left, FRAME.right);
  const curve = curveOf(law, variable, held, xs);
  const heights = [
    ...points.map(({ value }) => value),
    ...predictions.map(({ value }) => value),
    ...curve.flatMap(({ value, low, high }) => [value, low, high]),
    ...bars.flatMap((bar) => (bar === null ? [] : [bar.low, bar.high])),
  ];
  const y = logAxis(heights, FRAME.bottom, FRAME.top);

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
    element('title', {}, escapeXml(title ?? formula(law))),
    element('rect', { width: WIDTH, height: HEIGHT, fill: '#ffffff' }),
    ...axes(x, y, AXIS_TITLES[variable], AXIS_TITLES[law.target]),
    ...headings(law, title, variable, held),
    ...curveShapes(curve, x, y),
    ...points.flatMap((point, i) => pointShapes(x.place(point[variable] ?? 1), y, point.value, bars[i] ?? null)),
    ...predictions.flatMap((prediction) => predictionShapes(x.place(prediction.at[variable] ?? 1), y, prediction)),
  )}\n`;
}

/** A line needs some length, also where there is one prediction only, or nothing but a law. */
function widened(values: readonly number[]): readonly number[] {
  if (values.length === 0) return [1e6, 1e10];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high / low < 2 ? [low / 3, ...values, high * 3] : values;
}

interface CurvePoint {
  readonly at: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

function curveOf(
  law: PowerLaw,
  variable: Variable,
  held: Readonly<Partial<Record<Variable, number>>>,
  xs: readonly number[],
): CurvePoint[] {
  const [low, high] = [Math.log(Math.min(...xs)), Math.log(Math.max(...xs))];
  return Array.from({ length: CURVE_STEPS + 1 }, (_, i) => {
    const at = Math.exp(low + ((high - low) * i) / CURVE_STEPS);
    const { value, interval } = predict(law, { ...held, [variable]: at });
    return { at, value, low: interval?.low ?? value, high: interval?.high ?? value };
  });
}

function curveShapes(curve: readonly CurvePoint[], x: LogAxis, y: LogAxis): string[] {
  const along = (pick: (point: CurvePoint) => number) =>
    curve.map((point) => [x.place(point.at), y.place(pick(point))] as const);
  const band = `${pathThrough([...along(({ low }) => low), ...along(({ high }) => high).toReversed()])}Z`;
  return [
    element('path', { d: band, fill: INK.band, stroke: 'none' }),
    element('path', { d: pathThrough(along(({ value }) => value)), fill: 'none', stroke: INK.line, 'stroke-width': 2 }),
  ];
}

function pointShapes(left: number, y: LogAxis, value: number, bar: { low: number; high: number } | null): string[] {
  const dot = element('circle', { cx: left, cy: y.place(value), r: 4.5, fill: INK.point });
  return bar === null ? [dot] : [upright(left, y, bar, INK.point), dot];
}

function predictionShapes(left: number, y: LogAxis, { value, interval }: Prediction): string[] {
  const [size, top] = [6, y.place(value)];
  const diamond = `${pathThrough([
    [left, top - size],
    [left + size, top],
    [left, top + size],
    [left - size, top],
  ])}Z`;
  const isRight = left > (FRAME.left + FRAME.right) / 2;
  return [
    ...(interval === null ? [] : [upright(left, y, interval, INK.prediction)]),
    element('path', { d: diamond, fill: INK.prediction }),
    label(short(value), left + (isRight ? -10 : 10), top + (isRight ? 18 : -10), {
      anchor: isRight ? 'end' : 'start',
      fill: INK.prediction,
    }),
  ];
}

const upright = (left: number, y: LogAxis, { low, high }: { low: number; high: number }, stroke: string) =>
  element('line', { x1: left, x2: left, y1: y.place(low), y2: y.place(high), stroke, 'stroke-width': 1.5 });

function headings(
  law: PowerLaw,
  title: string | undefined,
  variable: Variable,
  held: Readonly<Partial<Record<Variable, number>>>,
): string[] {
  const fixed = law.variables
    .filter((each) => each !== variable)
    .map((each) => `, at ${SYMBOLS[each]} = ${short(held[each] ?? 0)}`);
  const sure = law.statistics === null ? '' : `; band: ${100 * DEFAULT_LEVEL} % prediction interval`;
  return [
    label(title ?? law.name, FRAME.left, 24, { size: 16, weight: 600 }),
    label(`${formula(law)}${fixed.join('')}${sure}`, FRAME.left, 44, {}),
  ];
}
