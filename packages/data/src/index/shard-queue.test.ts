import { deferred, WeftError } from '@weft/common';
import { describe, expect, it } from 'vitest';
import type { ShardPart } from './shard-part.js';
import { ShardQueue, type UnitReader } from './shard-queue.js';

const tasks = (count: number) => Array.from({ length: count }, (_, number) => ({ source: 'text', number, bytes: 1 }));
const part = (number: number) => ({ part: { name: `shard ${number}` } as ShardPart });

function queueOf(count: number, readers: number, openReader: (file: number) => Promise<UnitReader>) {
  const finished: number[] = [];
  const queue = new ShardQueue({
    ...{ tasks: tasks(count), readers, firstFile: 0, openReader },
    describe: ({ number }) => `shard ${number}`,
    onFinished: ({ number }) => finished.push(number),
  });
  return { queue, finished };
}

describe('a queue of shards', () => {
  it('gives parts in the order that is asked for, whoever reads them', async () => {
    const { queue, finished } = queueOf(100, 3, async () => ({
      read: async (unit) => unit.map(({ number }) => part(number)),
      close: async () => undefined,
    }));
    for (let number = 99; number >= 0; number--) expect((await queue.take(number)).name).toBe(`shard ${number}`);
    expect(finished.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    await queue.close();
  });

  it('is closed at once, whatever is being read', async () => {
    const error = { code: 'corrupt_data', message: 'it is bad', hint: undefined } as const;
    const { queue } = queueOf(2, 2, async (file) => {
      const reading = deferred<never>();
      reading.promise.catch(() => undefined);
      return {
        read: (unit) => (file === 0 ? Promise.resolve(unit.map(() => ({ error }))) : reading.promise),
        kill: () => reading.reject(new WeftError('unavailable', 'killed')),
        close: async () => undefined,
      };
    });
    await expect(queue.take(0)).rejects.toMatchObject(error);
    await queue.close();
  });

  it('gives the shards of a lost reader to others, each on its own', async () => {
    const units: number[][] = [];
    const { queue } = queueOf(8, 1, async () => ({
      read: async (unit) => {
        units.push(unit.map(({ number }) => number));
        if (unit.some(({ number }) => number === 1)) throw new WeftError('unavailable', 'it died');
        return unit.map(({ number }) => part(number));
      },
      close: async () => undefined,
    }));
    await expect(queue.take(1)).rejects.toMatchObject({ message: 'shard 1 cannot be indexed: it died' });
    for (const number of [0, 2, 3, 4, 5, 6, 7]) expect((await queue.take(number)).name).toBe(`shard ${number}`);
    expect(units).toEqual([[0, 1], [0], [1], [2, 3], [4, 5], [6, 7]]);
    await queue.close();
  });
});
