/** An axis of a plot, between two positions in pixels. */
export interface Axis {
  /** From a value to its position. */
  readonly scale: (value: number) => number;
  /** Values with a label and a grid line. */
  readonly ticks: readonly number[];
  /** Values with a small mark. */
  readonly minorTicks: readonly number[];
}

const MOST_LINEAR_LABELS = 8;
/** Distances between labels, times a power of ten. */
const LINEAR_STEPS = [1, 2, 5, 10];

/** A linear axis from the smallest value at `start` to the largest at `end`. */
export function linearAxis(values: readonly number[], start: number, end: number): Axis {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const range = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(range / MOST_LINEAR_LABELS));
  const step = power * (LINEAR_STEPS.find((each) => range / (each * power) <= MOST_LINEAR_LABELS) ?? 10);
  const multiples = (distance: number) => {
    const first = Math.ceil(low / distance - 1e-9);
    const count = Math.floor(high / distance + 1e-9) - first + 1;
    // Rounded, because 3 · 0.1 is not 0.3.
    return Array.from({ length: Math.max(0, count) }, (_, i) => Number(((first + i) * distance).toPrecision(12)));
  };
  return {
    scale: (value) => start + ((value - low) / range) * (end - start),
    ticks: multiples(step),
    minorTicks: multiples(step / 5),
  };
}

const MOST_LOG_LABELS = 9;
/** Labels within a decade; the first list that gives few enough labels is used. */
const LOG_LABELS = [[1, 2, 3, 5], [1, 3], [1]] as const;
/** Free space beyond the outermost values, as a fraction of their distance. */
const LOG_MARGIN = 0.06;

/** A logarithmic axis between `start` and `end`, with a margin beyond the outermost values. */
export function logAxis(values: readonly number[], start: number, end: number): Axis {
  const [lowest, highest] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
  const margin = Math.max((highest - lowest) * LOG_MARGIN, 0.05);
  const [low, high] = [lowest - margin, highest + margin];
  const inEveryDecade = (steps: readonly number[]) => {
    const decades = Array.from({ length: Math.floor(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
    return decades
      .flatMap((decade) => steps.map((step) => Number(`${step}e${decade}`)))
      .filter((value) => low <= Math.log10(value) && Math.log10(value) <= high);
  };
  const few = LOG_LABELS.map(inEveryDecade).find(({ length }) => length <= MOST_LOG_LABELS);
  return {
    scale: (value) => start + ((Math.log10(value) - low) / (high - low)) * (end - start),
    ticks: few ?? everyFewDecades(inEveryDecade([1])),
    minorTicks: inEveryDecade([1, 2, 3, 4, 5, 6, 7, 8, 9]),
  };
}

function everyFewDecades(decades: readonly number[]): number[] {
  const stride = Math.ceil(decades.length / MOST_LOG_LABELS);
  return decades.filter((_, i) => i % stride === 0);
}
