import type { HostArray } from './host-tensor.js';

/** A box of an array: along every axis where it begins and how long it is. */
export interface Box {
  readonly begin: readonly number[];
  readonly size: readonly number[];
}

/** The box that is a whole array. */
export function wholeBox(shape: readonly number[]): Box {
  return { begin: shape.map(() => 0), size: shape };
}

/** Takes a box out of an array, row-major. A box that lies in one run is a view on the array. */
export function cut<T extends HostArray>(array: T, shape: readonly number[], box: Box): T {
  const { starts, length } = boxRuns(shape, box);
  const [first = 0] = starts;
  if (starts.length === 1) return array.subarray(first, first + length) as T;
  const values = array.slice(0, starts.length * length) as T;
  for (const [i, start] of starts.entries()) values.set(array.subarray(start, start + length), i * length);
  return values;
}

/** Puts a box back into an array. */
export function paste(array: HostArray, shape: readonly number[], box: Box, values: HostArray): void {
  const { starts, length } = boxRuns(shape, box);
  for (const [i, start] of starts.entries()) array.set(values.subarray(i * length, (i + 1) * length), start);
}

/** A box as runs of neighbouring elements of the array: where each begins, in order, and how long all of them are. */
export interface BoxRuns {
  readonly starts: readonly number[];
  readonly length: number;
}

export function boxRuns(shape: readonly number[], { begin, size }: Box): BoxRuns {
  // Behind the last axis that is cut, everything is taken, so a run is as long as the cut axis allows.
  const lastCut = shape.findLastIndex((length, index) => size[index] !== length);
  let length = 1;
  let stride = 1;
  let starts = [0];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const [from, count] = [begin[axis] ?? 0, size[axis] ?? 1];
    const step = stride;
    if (axis >= lastCut) {
      length *= count;
      starts = starts.map((start) => start + from * step);
    } else {
      const inner = starts;
      starts = Array.from({ length: count }, (_, i) => inner.map((start) => start + (from + i) * step)).flat();
    }
    stride *= shape[axis] ?? 1;
  }
  return { starts, length };
}

/** A box with its elements, row-major. */
export interface FilledBox {
  readonly box: Box;
  readonly values: Float32Array;
}

const CHUNK_ELEMENTS = 2 ** 20;

/**
 * The elements of an array that lies in boxes, in order, without joining it: a view where a chunk lies in one box,
 * otherwise a chunk of at most 4 MiB that the next one overwrites.
 * @param boxes together the whole array, each element once
 * @param first the first element; default: of the array
 * @param end behind the last element; default: of the array
 */
export function* elementsOf(
  shape: readonly number[],
  boxes: readonly FilledBox[],
  first = 0,
  end = shape.reduce((product, each) => product * each, 1),
): Generator<Float32Array> {
  const sources = boxes.map(({ box, values }) => ({ ...boxRuns(shape, box), values, next: 0 }));
  const whole = sources.find(({ starts, length }) => starts.length === 1 && length >= end - first);
  if (whole !== undefined && (whole.starts[0] ?? 0) <= first && (whole.starts[0] ?? 0) + whole.length >= end) {
    const start = whole.starts[0] ?? 0;
    yield whole.values.subarray(first - start, end - start);
    return;
  }
  const buffer = new Float32Array(Math.min(CHUNK_ELEMENTS, end - first));
  for (let from = first; from < end; from += buffer.length) {
    const to = Math.min(from + buffer.length, end);
    for (const source of sources) {
      const { starts, length, values } = source;
      while ((starts[source.next] ?? Number.POSITIVE_INFINITY) + length <= from) source.next++;
      for (let run = source.next; (starts[run] ?? Number.POSITIVE_INFINITY) < to; run++) {
        const start = starts[run] ?? 0;
        const [left, right] = [Math.max(start, from), Math.min(start + length, to)];
        const offset = run * length - start;
        buffer.set(values.subarray(offset + left, offset + right), left - from);
      }
    }
    yield buffer.subarray(0, to - from);
  }
}
