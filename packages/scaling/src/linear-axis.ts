import type { Axis } from './axis.js';

const MOST_LABELS = 8;
/** Sizes of a step between labels, times a power of ten. */
const STEPS = [1, 2, 5, 10];

/** An axis that shows all values, from position `start` to position `end`. */
export function linearAxis(values: readonly number[], start: number, end: number): Axis {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const range = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(range / MOST_LABELS));
  const step = power * (STEPS.find((each) => range / (each * power) <= MOST_LABELS) ?? 10);
  const marks = (distance: number) => {
    const first = Math.ceil(low / distance - 1e-9);
    const count = Math.floor(high / distance + 1e-9) - first + 1;
    // Rounded, for three tenths are not 0.3.
    return Array.from({ length: Math.max(0, count) }, (_, i) => Number(((first + i) * distance).toPrecision(12)));
  };
  return {
    place: (value) => start + ((value - low) / range) * (end - start),
    ticks: marks(step),
    smallTicks: marks(step / 5),
  };
}
