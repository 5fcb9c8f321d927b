import type { Axis } from './axis.js';

/** Steps within a decade that get a label, the finest first, until there are few enough. */
const LABELLED = [[1, 2, 3, 5], [1, 3], [1]] as const;
const MOST_LABELS = 9;
/** Room beyond the outermost values, as a part of the whole. */
const MARGIN = 0.06;

/** A logarithmic axis that shows all values, from position `start` to position `end`. */
export function logAxis(values: readonly number[], start: number, end: number): Axis {
  const [lowest, highest] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
  const margin = Math.max((highest - lowest) * MARGIN, 0.05);
  const [low, high] = [lowest - margin, highest + margin];
  const marks = (steps: readonly number[]) => {
    const decades = Array.from({ length: Math.floor(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
    return decades
      .flatMap((decade) => steps.map((step) => Number(`${step}e${decade}`)))
      .filter((value) => low <= Math.log10(value) && Math.log10(value) <= high);
  };
  return {
    place: (value) => start + ((Math.log10(value) - low) / (high - low)) * (end - start),
    ticks: LABELLED.map(marks).find(({ length }) => length <= MOST_LABELS) ?? everyFewDecades(marks([1])),
    smallTicks: marks([1, 2, 3, 4, 5, 6, 7, 8, 9]),
  };
}

function everyFewDecades(decades: readonly number[]): number[] {
  const stride = Math.ceil(decades.length / MOST_LABELS);
  return decades.filter((_, i) => i % stride === 0);
}
