import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { themeVersion } from './chart.js';
import { faded, resolveColor } from './colors.js';
import { LineMark } from './parts.js';

/** Points or a line over something that is not steps. */
export interface XyLine {
  readonly label: string;
  readonly xs: readonly number[];
  readonly ys: readonly (number | null)[];
  readonly color: string;
  /** Default: a line. */
  readonly look?: 'line' | 'dots' | 'lineWithDots' | 'dashed' | 'bandEdge';
}

interface XyChartProps {
  readonly title: string;
  readonly lines: readonly XyLine[];
  readonly xName: string;
  readonly formatX: (value: number) => string;
  readonly formatY: (value: number) => string;
  readonly isLogY?: boolean;
  /** Pairs of lines, by their places, between which the ground is tinted. */
  readonly bands?: readonly (readonly [number, number])[];
  /** What the chart shows, for people who do not see it. */
  readonly summary: string;
  readonly height?: number;
  readonly aside?: ComponentChildren;
}

const DEFAULT_HEIGHT = 260;

/** Values over a logarithmic axis: learning rates, sizes of models. The legend has the values under the pointer. */
export function XyChart(props: XyChartProps) {
  const { title, lines, height = DEFAULT_HEIGHT, formatX, formatY, xName } = props;
  const host = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const data = useMemo(() => joined(lines), [lines]);
  const theme = themeVersion.value;
  useEffect(() => {
    const element = host.current;
    if (element === null || lines.length === 0) return;
    const drawn = new uPlot(optionsOf(props, element.clientWidth, setAt), data, element);
    const observer = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      drawn.destroy();
    };
  }, [data, theme]);
  const x = at === null ? undefined : data[0][at];
  return (
    <figure class="chart">
      <figcaption>
        <span class="title">{title}</span>
        <span class="at number">{x === undefined ? '' : `${xName} ${formatX(x)}`}</span>
        {props.aside}
      </figcaption>
      <ul class="legend">
        {lines.map(({ label, color, look }, index) => {
          if (look === 'bandEdge') return null;
          const value = at === null ? undefined : data[index + 1]?.[at];
          return (
            <li key={label}>
              <LineMark color={color} look={look} /> {label} {value != null && <b class="number">{formatY(value)}</b>}
            </li>
          );
        })}
      </ul>
      <div class="plot" ref={host} role="img" aria-label={`${title}: ${props.summary}`} />
    </figure>
  );
}

type Data = [number[], ...(number | null | undefined)[][]];

function joined(lines: readonly XyLine[]): Data {
  const tables = lines.map(({ xs, ys }): uPlot.AlignedData => {
    const order = [...xs.keys()].sort((a, b) => xs[a]! - xs[b]!);
    return [order.map((index) => xs[index]!), order.map((index) => ys[index] ?? null)];
  });
  if (tables.length === 0) return [[]];
  return (tables.length === 1 ? tables[0] : uPlot.join(tables)) as Data;
}

function optionsOf(props: XyChartProps, width: number, onCursor: (at: number | null) => void): uPlot.Options {
  const { lines, formatX, formatY, isLogY = false, bands = [], height = DEFAULT_HEIGHT } = props;
  const axis = { stroke: resolveColor('var(--ink-2)'), font: '11px system-ui, sans-serif' };
  const grid = { stroke: resolveColor('var(--grid)'), width: 1 };
  const values = (format: (value: number) => string) => (_: uPlot, splits: (number | null)[]) =>
    splits.map((value) => (value === null ? '' : format(value)));
  return {
    width,
    height,
    legend: { show: false },
    padding: [10, 26, 0, 0],
    cursor: { drag: { setScale: false, x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: false, distr: 3, range: logRange }, y: isLogY ? { distr: 3, range: logRange } : {} },
    axes: [
      { ...axis, ...logTicks, grid, ticks: { ...grid, size: 4 }, size: 28, values: values(formatX) },
      { ...axis, ...(isLogY ? logTicks : {}), grid, ticks: { ...grid, size: 4 }, size: 62, values: values(formatY) },
    ],
    bands: bands.map(([low, high]) => ({
      series: [high + 1, low + 1],
      fill: faded(resolveColor(lines[low]?.color ?? 'var(--ink-2)'), 0.12),
    })),
    series: [
      {},
      ...lines.map(({ label, color, look = 'line' }): uPlot.Series => {
        const stroke = resolveColor(color);
        const hasDots = look === 'dots' || look === 'lineWithDots';
        return {
          label,
          stroke: look === 'bandEdge' ? faded(stroke, 0.35) : stroke,
          width: look === 'dots' ? 0 : look === 'bandEdge' ? 1 : 1.75,
          spanGaps: true,
          points: { show: hasDots, size: 7, fill: stroke, stroke },
          ...(look === 'dashed' ? { dash: [5, 4] } : {}),
        };
      }),
    ],
    hooks: { setCursor: [(drawn) => onCursor(drawn.cursor.idx ?? null)] },
  };
}

/** A little beyond the data, and not to the next power of ten. */
const logRange = (_: uPlot, low: number, high: number): [number, number] => [low / 1.25, high * 1.25];

/** Powers of ten; over few of them also twice and five times each. */
const logTicks: Pick<uPlot.Axis, 'splits' | 'filter'> = {
  splits: (_, __, low, high) => {
    const factors = high / low > 1000 ? [1] : [1, 2, 5];
    const ticks: number[] = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of factors) ticks.push(Number(`${factor}e${power}`));
    return ticks.filter((tick) => tick >= low && tick <= high);
  },
  filter: (_, splits) => splits,
};
