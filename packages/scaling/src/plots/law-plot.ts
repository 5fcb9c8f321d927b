import type { ScalePoint } from '../fits/points.js';
import { formula, type Interval, type LawInputs, type PowerLaw, SYMBOLS, type Variable } from '../laws/power-law.js';
import { DEFAULT_LEVEL, levelText, type Prediction, predict } from '../laws/predict.js';
import { type Axis, logAxis } from './axes.js';
import { type Box, positionLabel } from './label-position.js';
import { axes, COLORS, element, formatNumber, headings, label, PLOT_AREA, pathThrough, svgDocument } from './svg.js';

/** What `lawPlot` draws. */
export interface LawPlotOptions {
  readonly law: PowerLaw;
  /** Drawn as dots; default none. */
  readonly points?: readonly ScalePoint[];
  /** The uncertainty of each point's own optimum, drawn as a bar; in the order of the points. */
  readonly bars?: readonly (Interval | null)[];
  /** Drawn as diamonds, with their interval and a label. */
  readonly predictions?: readonly Prediction[];
  /** Default: the name of the law. */
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
 * Points, line, prediction band and predictions of a law on logarithmic axes, as the text of an SVG file. A law of two
 * variables is drawn along its first one, with the second fixed at the value of the last prediction or point.
 */
export function lawPlot({
  law,
  points = [],
  bars = [],
  predictions = [],
  title,
  level = DEFAULT_LEVEL,
}: LawPlotOptions): string {
  const variable = law.variables[0] ?? 'params';
  const fixed = predictions.at(-1)?.at ?? points.at(-1) ?? {};
  const shown = [...points.map((point) => point[variable]), ...predictions.map(({ at }) => at[variable])];
  const range = law.ranges[0];
  const xs = widened([...shown.flatMap((value) => value ?? []), ...(range ? [range.low, range.high] : [])]);
  const x = logAxis(xs, PLOT_AREA.left, PLOT_AREA.right);
  const curve = sampleCurve(law, variable, fixed, xs, level);
  const ys = [
    ...points.map(({ value }) => value),
    ...predictions.map(({ value }) => value),
    ...curve.flatMap(({ value, low, high }) => [value, low, high]),
    ...bars.flatMap((bar) => (bar === null ? [] : [bar.low, bar.high])),
  ];
  const y = logAxis(ys, PLOT_AREA.bottom, PLOT_AREA.top);

  return svgDocument(
    title ?? formula(law),
    ...axes(x, y, AXIS_TITLES[variable], AXIS_TITLES[law.target]),
    ...headings(title ?? law.name, subtitle(law, variable, fixed, level)),
    ...curveShapes(curve, x, y),
    ...points.flatMap((point, i) => pointShapes(x.scale(point[variable] ?? 1), y, point.value, bars[i] ?? null)),
    ...predictionShapes(predictions, variable, x, y, [
      ...points.map((point) => markBox(x.scale(point[variable] ?? 1), y.scale(point.value))),
      ...curve.map(({ at, value }) => markBox(x.scale(at), y.scale(value))),
    ]),
  );
}

/** A line needs some length, also with one prediction only, or with nothing but a law. */
function widened(values: readonly number[]): readonly number[] {
  if (values.length === 0) return [1e6, 1e10];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high / low < 2 ? [low / 3, ...values, high * 3] : values;
}

/** A point of the law's line, with the band at it. */
interface CurvePoint extends Interval {
  readonly at: number;
  readonly value: number;
}

function sampleCurve(
  law: PowerLaw,
  variable: Variable,
  fixed: LawInputs,
  xs: readonly number[],
  level: number,
): CurvePoint[] {
  const [low, high] = [Math.log(Math.min(...xs)), Math.log(Math.max(...xs))];
  return Array.from({ length: CURVE_STEPS + 1 }, (_, i) => {
    const at = Math.exp(low + ((high - low) * i) / CURVE_STEPS);
    const { value, interval } = predict(law, { ...fixed, [variable]: at }, level);
    return { at, value, low: interval?.low ?? value, high: interval?.high ?? value };
  });
}

function curveShapes(curve: readonly CurvePoint[], x: Axis, y: Axis): string[] {
  const along = (pick: (point: CurvePoint) => number) =>
    curve.map((point) => [x.scale(point.at), y.scale(pick(point))] as const);
  const band = `${pathThrough([...along(({ low }) => low), ...along(({ high }) => high).toReversed()])}Z`;
  const line = pathThrough(along(({ value }) => value));
  return [
    element('path', { d: band, fill: COLORS.band, stroke: 'none' }),
    element('path', { d: line, fill: 'none', stroke: COLORS.line, 'stroke-width': 2 }),
  ];
}

function pointShapes(cx: number, y: Axis, value: number, bar: Interval | null): string[] {
  const dot = element('circle', { cx, cy: y.scale(value), r: 4.5, fill: COLORS.point });
  return bar === null ? [dot] : [verticalBar(cx, y, bar, COLORS.point), dot];
}

/** Diamonds with their intervals and labels; with several predictions, each label names its model too. */
function predictionShapes(
  predictions: readonly Prediction[],
  variable: Variable,
  x: Axis,
  y: Axis,
  occupied: Box[],
): string[] {
  const marks = predictions
    .map(({ at, value, interval }) => ({ at: at[variable] ?? 1, value, interval }))
    .toSorted((left, right) => left.at - right.at)
    .map((mark) => ({ ...mark, left: x.scale(mark.at), top: y.scale(mark.value) }));
  for (const { left, top, interval } of marks) {
    occupied.push(markBox(left, top));
    if (interval !== null)
      occupied.push({ left: left - 1, right: left + 1, top: y.scale(interval.high), bottom: y.scale(interval.low) });
  }
  return marks.flatMap(({ at, value, interval, left, top }) => {
    const text = marks.length === 1 ? formatNumber(value) : `${formatNumber(at)}: ${formatNumber(value)}`;
    const position = positionLabel(text, left, top, occupied);
    occupied.push(position.box);
    return [
      ...(interval === null ? [] : [verticalBar(left, y, interval, COLORS.prediction)]),
      element('path', { d: diamond(left, top), fill: COLORS.prediction }),
      label(text, position.x, position.y, { anchor: position.anchor, fill: COLORS.prediction }),
    ];
  });
}

/** Half the width of a mark, in pixels. */
const MARK_RADIUS = 6;

const markBox = (x: number, y: number): Box => ({
  left: x - MARK_RADIUS,
  right: x + MARK_RADIUS,
  top: y - MARK_RADIUS,
  bottom: y + MARK_RADIUS,
});

function diamond(x: number, y: number): string {
  return `${pathThrough([
    [x, y - MARK_RADIUS],
    [x + MARK_RADIUS, y],
    [x, y + MARK_RADIUS],
    [x - MARK_RADIUS, y],
  ])}Z`;
}

const verticalBar = (x: number, y: Axis, { low, high }: Interval, stroke: string) =>
  element('line', { x1: x, x2: x, y1: y.scale(low), y2: y.scale(high), stroke, 'stroke-width': 1.5 });

function subtitle(law: PowerLaw, variable: Variable, fixed: LawInputs, level: number): string {
  const others = law.variables
    .filter((each) => each !== variable)
    .map((each) => `, at ${SYMBOLS[each]} = ${formatNumber(fixed[each] ?? 0)}`);
  const band = law.statistics === null ? '' : `; band: ${levelText(level)} prediction interval`;
  return `${formula(law)}${others.join('')}${band}`;
}
