import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataPlane } from '../data-plane.js';

let planes: DataPlane[];
beforeEach(async () => {
  planes = await Promise.all([1, 2, 3].map(() => DataPlane.listen()));
});
afterEach(async () => {
  await Promise.all(planes.map((plane) => plane.close()));
});

/** Each sends to the next one. */
const link = (expertWorker: number, changes: { receivers?: number[]; senders?: number[]; signal?: AbortSignal } = {}) =>
  planes[expertWorker]!.linkExperts({
    ...{ runId: 'r', generation: 7, expertWorker, token: 't', timeoutMs: 20_000 },
    addresses: planes.map(({ address }) => address),
    receivers: [(expertWorker + 1) % 3],
    senders: [(expertWorker + 2) % 3],
    ...changes,
  });

describe('the links between expert workers', () => {
  it('carry bytes there and answers back', async () => {
    const links = await Promise.all([0, 1, 2].map((each) => link(each)));
    const reading = links.map(async (own, at) => {
      const bytes = Buffer.alloc(300_000);
      await own.from((at + 2) % 3).read(bytes);
      await own.from((at + 2) % 3).write(Buffer.from([bytes[0]! + 1]));
      return bytes;
    });
    const answers = links.map(async (own, at) => {
      await own.to((at + 1) % 3).write(Buffer.alloc(300_000, at));
      const answer = Buffer.alloc(1);
      await own.to((at + 1) % 3).read(answer);
      return answer[0];
    });
    expect(await Promise.all(answers)).toEqual([1, 2, 3]);
    expect((await Promise.all(reading)).map((bytes) => bytes.every((each) => each === bytes[0]))).toEqual([
      true,
      true,
      true,
    ]);
    expect(() => links[0]!.to(2)).toThrow('expert worker 2 gets nothing from here');
    for (const own of links) own.close();
  });

  it('name the one that is gone', async () => {
    const [first, , last] = await Promise.all([0, 1, 2].map((each) => link(each)));
    const reading = first!.from(2).read(Buffer.alloc(1));
    last!.close();
    await expect(reading).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('expert worker 2 of run r, generation 7 is gone'),
    });
  });

  it('end with the generation', async () => {
    const released = new AbortController();
    const [first] = await Promise.all([link(0, { signal: released.signal }), link(1), link(2)]);
    const reading = first!.from(2).read(Buffer.alloc(1));
    released.abort();
    await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('are not given to one that is to get nothing', async () => {
    const stop = new AbortController();
    const open = link(0, { senders: [], signal: stop.signal });
    await expect(link(2, { receivers: [], senders: [0] })).rejects.toMatchObject({
      message: expect.stringContaining('expert worker 2 is to get nothing from 0'),
    });
    stop.abort();
    await expect(open).rejects.toMatchObject({ code: 'cancelled' });
  });
});
