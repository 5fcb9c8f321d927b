import type { Axis } from './axis.js';
import { formula, type PowerLaw, SYMBOLS, type Variable } from './law.js';
import { logAxis } from './log-axis.js';
import { axes, FRAME, headings, INK, label, sheet, short } from './paper.js';
import { type Box, placeLabel } from './place-label.js';
import type { ScalePoint } from './points.js';
import { DEFAULT_LEVEL, levelText, type Prediction, predict } from './predict.js';
import { element, pathThrough } from './svg.js';

export interface LawPicture {
  readonly law: PowerLaw;
  /** Drawn as dots; none for a published law. */
  readonly points?: readonly ScalePoint[];
  /** The uncertainty of each point's own optimum, as a bar; in the order of the points. */
  readonly bars?: readonly ({ readonly low: number; readonly high: number } | null)[];
  /** Drawn as diamonds, with their interval and a label. */
  readonly predictions?: readonly Prediction[];
  readonly title?: string;
  /** Of the band; default 0.95. */
  readonly level?: number;
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
export function lawPicture({
  law,
  points = [],
  bars = [],
  predictions = [],
  title,
  level = DEFAULT_LEVEL,
}: LawPicture): string {
  const variable = law.variables[0] ?? 'params';
  const held = predictions.at(-1)?.at ?? points.at(-1) ?? {};
  const shown = [...points.map((point) => point[variable]), ...predictions.map(({ at }) => at[variable])];
  const range = law.ranges[0];
  const xs = widened([...shown.flatMap((value) => value ?? []), ...(range ? [range.low, range.high] : [])]);
  const x = logAxis(xs, FRAME.left, FRAME.right);
  const curve = curveOf(law, variable, held, xs, level);
  const heights = [
    ...points.map(({ value }) => value),
    ...predictions.map(({ value }) => value),
    ...curve.flatMap(({ value, low, high }) => [value, low, high]),
    ...bars.flatMap((bar) => (bar === null ? [] : [bar.low, bar.high])),
  ];
  const y = logAxis(heights, FRAME.bottom, FRAME.top);

  return sheet(
    title ?? formula(law),
    ...axes(x, y, AXIS_TITLES[variable], AXIS_TITLES[law.target]),
    ...headings(title ?? law.name, subtitleOf(law, variable, held, level)),
    ...curveShapes(curve, x, y),
    ...points.flatMap((point, i) => pointShapes(x.place(point[variable] ?? 1), y, point.value, bars[i] ?? null)),
    ...predictionShapes(predictions, variable, x, y, [
      ...points.map((point) => around(x.place(point[variable] ?? 1), y.place(point.value))),
      ...curve.map(({ at, value }) => around(x.place(at), y.place(value))),
    ]),
  );
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
  level: number,
): CurvePoint[] {
  const [low, high] = [Math.log(Math.min(...xs)), Math.log(Math.max(...xs))];
  return Array.from({ length: CURVE_STEPS + 1 }, (_, i) => {
    const at = Math.exp(low + ((high - low) * i) / CURVE_STEPS);
    const { value, interval } = predict(law, { ...held, [variable]: at }, level);
    return { at, value, low: interval?.low ?? value, high: interval?.high ?? value };
  });
}

function curveShapes(curve: readonly CurvePoint[], x: Axis, y: Axis): string[] {
  const along = (pick: (point: CurvePoint) => number) =>
    curve.map((point) => [x.place(point.at), y.place(pick(point))] as const);
  const band = `${pathThrough([...along(({ low }) => low), ...along(({ high }) => high).toReversed()])}Z`;
  return [
    element('path', { d: band, fill: INK.band, stroke: 'none' }),
    element('path', { d: pathThrough(along(({ value }) => value)), fill: 'none', stroke: INK.line, 'stroke-width': 2 }),
  ];
}

function pointShapes(left: number, y: Axis, value: number, bar: { low: number; high: number } | null): string[] {
  const dot = element('circle', { cx: left, cy: y.place(value), r: 4.5, fill: INK.point });
  return bar === null ? [dot] : [upright(left, y, bar, INK.point), dot];
}

/** Diamonds with their intervals; where there are several, each label says which is meant. */
function predictionShapes(
  predictions: readonly Prediction[],
  variable: Variable,
  x: Axis,
  y: Axis,
  taken: Box[],
): string[] {
  const marks = predictions
    .map(({ at, value, interval }) => ({ at: at[variable] ?? 1, value, interval }))
    .toSorted((left, right) => left.at - right.at)
    .map((mark) => ({ ...mark, left: x.place(mark.at), top: y.place(mark.value) }));
  for (const { left, top, interval } of marks) {
    taken.push(around(left, top));
    if (interval !== null)
      taken.push({ left: left - 1, right: left + 1, top: y.place(interval.high), bottom: y.place(interval.low) });
  }
  return marks.flatMap(({ at, value, interval, left, top }) => {
    const text = marks.length === 1 ? short(value) : `${short(at)}: ${short(value)}`;
    const place = placeLabel(text, left, top, taken);
    taken.push(place.box);
    return [
      ...(interval === null ? [] : [upright(left, y, interval, INK.prediction)]),
      element('path', { d: diamond(left, top), fill: INK.prediction }),
      label(text, place.x, place.y, { anchor: place.anchor, fill: INK.prediction }),
    ];
  });
}

/** Half the width of a mark, in pixels. */
const MARK = 6;

const around = (x: number, y: number): Box => ({ left: x - MARK, right: x + MARK, top: y - MARK, bottom: y + MARK });

function diamond(x: number, y: number): string {
  return `${pathThrough([
    [x, y - MARK],
    [x + MARK, y],
    [x, y + MARK],
    [x - MARK, y],
  ])}Z`;
}

const upright = (left: number, y: Axis, { low, high }: { low: number; high: number }, stroke: string) =>
  element('line', { x1: left, x2: left, y1: y.place(low), y2: y.place(high), stroke, 'stroke-width': 1.5 });

function subtitleOf(
  law: PowerLaw,
  variable: Variable,
  held: Readonly<Partial<Record<Variable, number>>>,
  level: number,
): string {
  const fixed = law.variables
    .filter((each) => each !== variable)
    .map((each) => `, at ${SYMBOLS[each]} = ${short(held[each] ?? 0)}`);
  const sure = law.statistics === null ? '' : `; band: ${levelText(level)} prediction interval`;
  return `${formula(law)}${fixed.join('')}${sure}`;
}
