import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { faded, resolveColor } from './colors.js';
import { LineMark } from './parts.js';

/** A line of a chart. */
export interface ChartLine {
  readonly label: string;
  readonly steps: readonly number[];
  readonly values: readonly number[];
  readonly color: string;
  /** Default 1.5 pixels. */
  readonly width?: number;
  /** Drawn behind the others and not named in the legend: the values that another line smooths. */
  readonly isFaint?: boolean;
  readonly isDashed?: boolean;
  /** Each value with a dot: for what only some steps have. */
  readonly hasDots?: boolean;
}

interface ChartProps {
  readonly title: string;
  readonly lines: readonly ChartLine[];
  readonly format: (value: number) => string;
  readonly isLog?: boolean;
  /** Whether the values of y begin at 0. */
  readonly fromZero?: boolean;
  readonly height?: number;
  readonly class?: string;
  readonly aside?: ComponentChildren;
  /** The steps that a person chose by drawing over the chart; undefined: all. */
  readonly onZoom?: (range: readonly [from: number, to: number] | undefined) => void;
}

/** Grows when the colours of the page change. */
export const themeVersion = signal(0);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => themeVersion.value++);

/** All charts of a page show the same step under the pointer. */
const SYNC_KEY = 'steps';
const DEFAULT_HEIGHT = 180;

/** Lines over steps. Draw over it to zoom, press twice to go back; arrow keys move along the steps. */
export function Chart(props: ChartProps) {
  const { title, lines, format, height = DEFAULT_HEIGHT, onZoom } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const id = useId();
  const shown = lines.filter(({ label }) => !hidden.has(label));
  const named = lines.filter(({ isFaint }) => isFaint !== true);
  const data = useMemo(() => joined(shown), [lines, hidden]);
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  const shape = JSON.stringify([
    shown.map(({ label, color, width, isFaint, isDashed, hasDots }) => [
      label,
      color,
      width,
      isFaint,
      isDashed,
      hasDots,
    ]),
    props.isLog,
    props.fromZero,
    height,
    themeVersion.value,
  ]);

  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const drawn = new uPlot(
      optionsOf(props, shown, element.clientWidth, setAt, (range) => zoom.current?.(range)),
      data,
      element,
    );
    plot.current = drawn;
    const observer = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => plot.current?.setData(data), [data]);

  const xs = data[0];
  const step = at === null ? xs.at(-1) : xs[at];
  const onKeyDown = (event: KeyboardEvent) => {
    const drawn = plot.current;
    if (drawn === null || xs.length === 0) return;
    const length = xs.length;
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -Math.ceil(length / 20), PageDown: Math.ceil(length / 20) }[
      event.key
    ];
    if (event.key === 'Escape') zoom.current?.(undefined);
    if (move === undefined) return;
    event.preventDefault();
    const next = Math.min(length - 1, Math.max(0, (at ?? length - 1) + move));
    drawn.setCursor({ left: drawn.valToPos(xs[next]!, 'x'), top: 10 });
    setAt(next);
  };

  return (
    <figure class={`chart ${props.class ?? ''}`}>
      <figcaption>
        <span class="title">{title}</span>
        <span class="at number">{step === undefined ? '' : `step ${step.toLocaleString('en')}`}</span>
        {props.aside}
      </figcaption>
      <ul class="legend">
        {named.map(({ label, color, isDashed, hasDots, steps, values }) => {
          const isHidden = hidden.has(label);
          const toggle = () => setHidden(toggled(hidden, label));
          return (
            <li key={label}>
              <button type="button" aria-pressed={!isHidden} onClick={toggle} title={`show or hide ${label}`}>
                <LineMark color={color} look={isDashed ? 'dashed' : hasDots ? 'lineWithDots' : 'line'} />
                {label} <b class="number">{valueText(steps, values, at === null ? undefined : step, format)}</b>
              </button>
            </li>
          );
        })}
      </ul>
      <div
        class="plot"
        ref={host}
        tabIndex={0}
        role="slider"
        aria-label={title}
        aria-describedby={id}
        aria-valuemin={xs[0] ?? 0}
        aria-valuemax={xs.at(-1) ?? 0}
        aria-valuenow={step ?? 0}
        aria-valuetext={step === undefined ? 'no step yet' : spoken(step, named, format)}
        onKeyDown={onKeyDown}
        onDblClick={() => zoom.current?.(undefined)}
      />
      <p class="unseen" id={id}>
        {summary(named, format)}
      </p>
    </figure>
  );
}

type Data = [number[], ...(number | null | undefined)[][]];

function joined(lines: readonly ChartLine[]): Data {
  const tables = lines.map(({ steps, values }): uPlot.AlignedData => [[...steps], [...values]]);
  if (tables.length === 0) return [[]];
  return (tables.length === 1 ? tables[0] : uPlot.join(tables)) as Data;
}

function toggled(set: ReadonlySet<string>, label: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(label)) next.add(label);
  return next;
}

/** The value at a step, or the last one before it. */
function valueText(
  steps: readonly number[],
  values: readonly number[],
  step: number | undefined,
  format: (value: number) => string,
): string {
  let low = 0;
  let high = steps.length;
  if (step === undefined) low = high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (steps[middle]! <= step!) low = middle + 1;
    else high = middle;
  }
  const value = values[low - 1];
  return value === undefined ? '–' : format(value);
}

/** What a chart shows, for people who do not see it. */
function summary(lines: readonly ChartLine[], format: (value: number) => string): string {
  const texts = lines.flatMap(({ label, steps, values }) => {
    const [first, last] = [values[0], values.at(-1)];
    if (first === undefined || last === undefined) return [];
    return `${label} from ${format(first)} at step ${steps[0]} to ${format(last)} at step ${steps.at(-1)}`;
  });
  return `${texts.join('; ')}. Arrow keys move along the steps, Escape shows all steps.`;
}

function spoken(step: number, lines: readonly ChartLine[], format: (value: number) => string): string {
  const values = lines.map(({ label, steps, values: all }) => `${label} ${valueText(steps, all, step, format)}`);
  return `step ${step}: ${values.join(', ')}`;
}

function optionsOf(
  { isLog = false, fromZero = false, height = DEFAULT_HEIGHT, format }: ChartProps,
  lines: readonly ChartLine[],
  width: number,
  onCursor: (at: number | null) => void,
  onZoom: (range: readonly [from: number, to: number]) => void,
): uPlot.Options {
  const axis = { stroke: resolveColor('var(--ink-2)'), font: '11px system-ui, sans-serif' };
  const grid = { stroke: resolveColor('var(--grid)'), width: 1 };
  const ticks = { ...grid, size: 4 };
  return {
    width,
    height,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: {
      sync: { key: SYNC_KEY, setSeries: false },
      drag: { x: true, y: false, setScale: false },
      points: { size: 5 },
    },
    scales: {
      x: { time: false },
      y: isLog ? { distr: 3 } : { range: (_, low, high) => yRange(low, high, fromZero) },
    },
    axes: [
      {
        ...axis,
        grid,
        ticks,
        size: 26,
        values: (_, splits) => splits.map((step) => (Number.isInteger(step) ? step.toLocaleString('en') : '')),
      },
      {
        ...axis,
        grid,
        ticks,
        size: 54,
        values: (_, splits) => splits.map((value) => (value === null ? '' : withoutZeros(format(value)))),
      },
    ],
    series: [
      {},
      ...lines.map(({ label, color, width: lineWidth = 1.5, isFaint, isDashed, hasDots }): uPlot.Series => {
        const stroke = resolveColor(color);
        return {
          label,
          stroke: isFaint ? faded(stroke, 0.28) : stroke,
          width: isFaint ? 1 : lineWidth,
          spanGaps: true,
          points: { show: hasDots === true, size: 5, fill: stroke },
          ...(isDashed ? { dash: [5, 4] } : {}),
        };
      }),
    ],
    hooks: {
      setCursor: [(drawn) => onCursor(drawn.cursor.idx ?? null)],
      setSelect: [
        (drawn) => {
          const { left, width: selected } = drawn.select;
          if (selected < 8) return;
          onZoom([drawn.posToVal(left, 'x'), drawn.posToVal(left + selected, 'x')]);
          drawn.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

/** "1.5000" → "1.5": beside an axis the last places say nothing. */
const withoutZeros = (text: string) => text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

function yRange(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  const [least, greatest] = [fromZero ? 0 : (low ?? 0), high ?? 1];
  const margin = (greatest - least || Math.abs(greatest) || 1) * 0.06;
  return [fromZero ? 0 : least - margin, greatest + margin];
}
