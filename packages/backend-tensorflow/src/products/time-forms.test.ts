import { PRODUCT_FORMS, type ProductForm } from '@weft/tensor';
import { describe, expect, it } from 'vitest';
import { race } from './time-forms.js';

/** Forms that take so many milliseconds, one number a round; the last one goes on. */
function timesOf(times: Readonly<Partial<Record<ProductForm, readonly (number | undefined)[]>>>) {
  const taken: ProductForm[] = [];
  const time = async (form: ProductForm) => {
    const round = taken.filter((each) => each === form).length;
    taken.push(form);
    const row = times[form] ?? [];
    return row[Math.min(round, row.length - 1)];
  };
  return { taken, time };
}

describe('the race of the forms of a product', () => {
  it('is won by a form that is over 3 % faster in every round', async () => {
    const { time } = timesOf({ batch: [100], matrix: [96] });
    expect(await race(['batch', 'matrix'], time)).toEqual({ form: 'matrix', speedup: 100 / 96 });
  });

  it('is won by the usual form where another is less than that faster, or was once', async () => {
    expect((await race(['batch', 'matrix'], timesOf({ batch: [100], matrix: [98] }).time)).form).toBe('batch');
    const { time, taken } = timesOf({ batch: [100], matrix: [80, 80, 80, 80, 99, 80] });
    expect((await race(['batch', 'matrix'], time)).form).toBe('batch');
    expect(taken).toHaveLength(10);
  });

  it('ends after one round where no form is faster', async () => {
    const { time, taken } = timesOf({
      batch: [100],
      matrix: [101],
      transposed: [99],
    });
    expect((await race(PRODUCT_FORMS, time)).form).toBe('batch');
    expect(taken).toHaveLength(3);
  });

  it('takes the fastest of those that were faster', async () => {
    const { time } = timesOf({ batch: [100], matrix: [90], transposed: [80] });
    expect((await race(PRODUCT_FORMS, time)).form).toBe('transposed');
  });

  it('lets each side go first in turn', async () => {
    const { time, taken } = timesOf({ batch: [100], matrix: [90] });
    await race(['batch', 'matrix'], time);
    expect(taken.slice(0, 4)).toEqual(['batch', 'matrix', 'matrix', 'batch']);
  });

  it('repeats a round in which others took the cores', async () => {
    const { time, taken } = timesOf({ batch: [100], matrix: [90, undefined, undefined, 90] });
    expect((await race(['batch', 'matrix'], time)).form).toBe('matrix');
    expect(taken.filter((form) => form === 'matrix')).toHaveLength(8);
  });

  it('keeps the usual form where others take the cores all the time', async () => {
    const { time, taken } = timesOf({ batch: [100], matrix: [undefined] });
    expect((await race(['batch', 'matrix'], time)).form).toBe('batch');
    expect(taken.filter((form) => form === 'matrix')).toHaveLength(12);
  });

  it('keeps the usual form when the time is up', async () => {
    const { time, taken } = timesOf({ batch: [100], matrix: [50] });
    expect((await race(['batch', 'matrix'], time, () => taken.length >= 4)).form).toBe('batch');
  });
});
