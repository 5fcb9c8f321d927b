import { noTime, totalSeconds } from '@weft/contracts';
import { describe, expect, it } from 'vitest';
import { WorkTimes } from './work-times.js';

const training = (...members: string[]) => ({ members, waiting: undefined });
const waiting = (bucket: 'queued' | 'recovering', workers = 2) => ({ members: [], waiting: { workers, bucket } });
const ended = { members: [], waiting: undefined };
const all = () => true;

describe('the time of a run', () => {
  it('is queued for all that it waits for, then what its members report, and sums to the time that passed', () => {
    const times = new WorkTimes();
    times.follow(0, waiting('queued'), all);
    times.follow(10_000, training('a', 'b'), all);
    times.report('a', { ...noTime(), starting: 1, computing: 3 }, 'communicating');
    times.report('b', { ...noTime(), starting: 2, computing: 2 }, 'computing');
    expect(times.spent(15_000)).toEqual({ ...noTime(), queued: 20, starting: 3, computing: 6, communicating: 1 });
    expect(times.reported(15_000)).toEqual({ ...noTime(), queued: 20, starting: 3, computing: 5 });
    expect(times.heldSeconds(15_000)).toBe(10);
  });

  it('of a lost worker is like its steps before up to the last one that was committed, and recovering from there', () => {
    const times = new WorkTimes();
    times.follow(0, training('a', 'b'), all);
    times.report('a', { ...noTime(), starting: 1, computing: 3, waitingForData: 1 }, 'computing');
    times.committed(9000);
    times.follow(10_000, training('b'), (workerId) => workerId !== 'a');
    times.follow(10_000, ended, (workerId) => workerId !== 'a');
    times.report('b', { ...noTime(), idle: 10 }, 'idle');
    const own = { starting: 1, computing: 3 + 3, waitingForData: 1 + 1, recovering: 1 };
    expect(times.spent(10_000)).toEqual({ ...noTime(), ...own, idle: 10 });
  });

  it('of a lost worker since its last report is recovering where no step came since; one that left may still report', () => {
    const times = new WorkTimes();
    times.follow(0, training('a', 'b'), all);
    times.report('a', { ...noTime(), computing: 2 }, 'computing');
    times.follow(5000, training('b'), (workerId) => workerId !== 'a');
    expect(times.spent(5000)).toEqual({ ...noTime(), computing: 2, recovering: 3, starting: 5 });
    times.follow(9000, ended, all);
    times.report('b', { ...noTime(), starting: 1, computing: 7, idle: 1.5 }, 'idle');
    expect(totalSeconds(times.spent(20_000))).toBeCloseTo(5 + 9, 9);
    expect(times.spent(20_000).computing).toBeCloseTo(2 + (7 * 9) / 9.5, 9);
    times.report('b', { ...noTime(), starting: 99 }, 'idle');
    expect(totalSeconds(times.spent(30_000))).toBeCloseTo(14, 9);
  });

  it('adds up over coordinators: what none of them saw is recovering, or goes on waiting', () => {
    const times = new WorkTimes();
    times.follow(0, training('a', 'b'), all);
    const restored = new WorkTimes(times.stored(4000));
    expect(restored.spent(10_000)).toEqual({ ...noTime(), starting: 8, recovering: 12 });
    restored.follow(10_000, waiting('recovering'), all);
    expect(restored.spent(11_000).recovering).toBe(14);
    const again = new WorkTimes(restored.stored(11_000));
    expect(again.spent(12_000).recovering).toBe(16);
    expect(again.heldSeconds(12_000)).toBe(8);
    again.follow(12_000, ended, all);
    expect(new WorkTimes(again.stored(12_000)).spent(99_000)).toEqual(again.spent(12_000));
  });
});
