/** The points of a curve, in the order of their steps: the arrays are as long as each other. */
export interface Curve {
  readonly steps: readonly number[];
  readonly values: readonly number[];
}

/**
 * At most `points` of the values, in the order of their steps: every part of the range keeps its least and its greatest
 * value, so that no spike is lost. The first and the last value are always among them.
 *
 * @param values of the steps from `first` on; NaN where a step has none
 * @param points at least 4
 */
export function thinned(values: Float64Array, first: number, points: number): Curve {
  const steps: number[] = [];
  const kept: number[] = [];
  const keep = (at: number) => {
    const step = first + at;
    if (steps.at(-1) === step) return;
    steps.push(step);
    kept.push(values[at] ?? Number.NaN);
  };
  let present = 0;
  let begin = -1;
  let end = -1;
  for (let at = 0; at < values.length; at++) {
    if (Number.isNaN(values[at])) continue;
    if (begin < 0) begin = at;
    end = at;
    present++;
  }
  if (begin < 0) return { steps, values: kept };
  const parts = present <= points ? end - begin + 1 : Math.max(1, Math.floor((points - 2) / 2));
  const width = (end - begin + 1) / parts;
  keep(begin);
  for (let part = 0; part < parts; part++) {
    const { low, high } = extremes(values, begin + Math.floor(part * width), begin + Math.floor((part + 1) * width));
    if (low < 0) continue;
    keep(Math.min(low, high));
    keep(Math.max(low, high));
  }
  keep(end);
  return { steps, values: kept };
}

/** Where the least and the greatest value of a range are; -1 where it has none. */
function extremes(values: Float64Array, begin: number, end: number): { readonly low: number; readonly high: number } {
  let low = -1;
  let high = -1;
  for (let at = begin; at < end; at++) {
    const value = values[at] as number;
    if (Number.isNaN(value)) continue;
    if (low < 0 || value < (values[low] as number)) low = at;
    if (high < 0 || value > (values[high] as number)) high = at;
  }
  return { low, high };
}
