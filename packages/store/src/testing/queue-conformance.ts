import { waitFor } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Job, JobQueue, NewJob } from '../job-queue.js';
import type { AcquiredLease } from '../lease.js';
import type { Store } from '../store.js';
import type { StoreFixture } from './store-fixture.js';

/** What every job queue does. */
export function describeJobQueue(makePlace: () => Promise<StoreFixture>): void {
  let place: StoreFixture;
  let store: Store;
  let held: AcquiredLease;
  let queue: JobQueue;
  const start = async () => {
    store = await place.open();
    held = await store.lease.acquire('this test');
    queue = await store.openQueue(held);
  };
  const restart = async () => {
    await held.release();
    await store.close();
    await start();
  };
  /** What is seen now must also be seen after a restart. */
  const listed = async () => {
    const before = await queue.list();
    await restart();
    expect(await queue.list()).toEqual(before);
    return before;
  };
  beforeEach(async () => {
    place = await makePlace();
    await start();
  });
  afterEach(() => place.remove());

  const run = (id: string, rest: Partial<NewJob> = {}): NewJob => ({ id, kind: 'run', data: { of: id }, ...rest });
  const ids = (jobs: readonly Job[]) => jobs.map(({ id }) => id).join(' ');
  const addAll = async (...jobs: NewJob[]) => {
    for (const job of jobs) await queue.add(job);
  };
  const refusal = (message: string) => ({ code: 'failed_precondition', message });

  describe('a job queue', () => {
    it('keeps what it is given, with defaults, over a restart', async () => {
      await queue.add(run('a', { data: { text: '🧵', list: [1, null] } }));
      const [job] = await listed();
      expect(job).toEqual({
        ...{ id: 'a', kind: 'run', data: { text: '🧵', list: [1, null] }, priority: 0, attempts: 1, backoffMs: 10_000 },
        ...{ notBeforeMs: 0, state: 'waiting', parent: null, children: [], failedAttempts: 0, reason: null },
        ...{ progress: null, result: null, addedAtMs: expect.any(Number), startedAtMs: null, endedAtMs: null },
      });
      expect(await queue.get('a')).toEqual(job);
    });

    it('lists the higher priority first, and within one the earlier', async () => {
      await addAll(run('a'), run('low', { priority: -5 }), run('b'), run('high', { priority: 7 }), run('c'));
      expect(ids(await listed())).toBe('high a b c low');
    });

    it('moves a job before, after, and to a priority', async () => {
      await addAll(run('a'), run('b'), run('c'), run('d', { priority: 5 }));
      await queue.move('c', { before: 'a' });
      expect(ids(await queue.list())).toBe('d c a b');
      await queue.move('a', { after: 'b' });
      expect(ids(await queue.list())).toBe('d c b a');
      await queue.move('b', { before: 'd' });
      expect(await queue.get('b')).toMatchObject({ priority: 5 });
      expect(ids(await listed())).toBe('b d c a');
      await queue.move('b', { priority: 0 });
      expect(ids(await listed())).toBe('d c a b');
      for (let round = 0; round < 40; round++)
        await queue.move(round % 2 ? 'a' : 'b', { before: round % 2 ? 'b' : 'a' });
      expect(ids(await listed())).toBe('d c a b');
      await expect(queue.move('a', { before: 'a' })).rejects.toMatchObject(
        refusal('job a cannot be moved beside job a'),
      );
      await expect(queue.move('a', { after: 'x' })).rejects.toMatchObject({ code: 'not_found' });
      await expect(queue.move('a', { priority: 0.5 })).rejects.toMatchObject({ code: 'invalid_argument' });
    });

    it('a job is taken once, is found active after a restart, and is done once', async () => {
      await addAll(run('a'), run('b'), run('c', { priority: 1 }));
      expect(await queue.take('b')).toMatchObject({ id: 'b', state: 'active', startedAtMs: expect.any(Number) });
      await expect(queue.take('b')).rejects.toMatchObject(refusal('job b cannot be started, it is active'));
      expect((await listed()).map(({ id, state }) => `${id} ${state}`)).toEqual(['b active', 'c waiting', 'a waiting']);
      await queue.complete('b', { loss: 1.5 });
      for (const again of [() => queue.take('b'), () => queue.complete('b', null), () => queue.fail('b', 'x')])
        await expect(again()).rejects.toMatchObject({ code: 'failed_precondition' });
      expect((await listed()).at(-1)).toMatchObject({
        ...{ id: 'b', state: 'completed', result: { loss: 1.5 }, endedAtMs: expect.any(Number) },
      });
      await expect(queue.take('b')).rejects.toMatchObject(refusal('job b cannot be started, it is completed'));
      await expect(queue.complete('a', null)).rejects.toMatchObject(
        refusal('job a cannot be completed, it is waiting'),
      );
    });

    it('a failed job is tried again after a back-off that doubles, until its attempts are used up', async () => {
      await queue.add(run('a', { attempts: 3, backoffMs: 500 }));
      for (const backoffMs of [500, 1000]) {
        await queue.take('a');
        const beforeMs = Date.now();
        const failed = await queue.fail('a', 'out of memory');
        expect(failed).toMatchObject({ state: 'delayed', reason: 'out of memory', failedAttempts: backoffMs / 500 });
        expect(failed.notBeforeMs).toBeGreaterThanOrEqual(beforeMs + backoffMs);
        expect(failed.notBeforeMs).toBeLessThanOrEqual(Date.now() + backoffMs);
        await expect(queue.take('a')).rejects.toMatchObject(refusal('job a cannot be started, it is delayed'));
        await restart();
        expect(await queue.get('a')).toEqual({ ...failed, state: expect.stringMatching(/delayed|waiting/) });
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, failed.notBeforeMs - Date.now()) + 2));
      }
      await queue.take('a');
      expect(await queue.fail('a', 'again')).toMatchObject({ state: 'failed', failedAttempts: 3, reason: 'again' });
      expect((await listed())[0]).toMatchObject({ state: 'failed', reason: 'again', endedAtMs: expect.any(Number) });
    });

    it('a delayed start is kept, is not taken before, and wakes those who follow', async () => {
      const notBeforeMs = Date.now() + 2000;
      await queue.add(run('later', { notBeforeMs }));
      await queue.add(run('now'));
      expect((await listed()).map(({ id, state }) => `${id} ${state}`)).toEqual(['later delayed', 'now waiting']);
      for await (const _ of queue.changes(AbortSignal.timeout(15_000)))
        if ((await queue.get('later')).state === 'waiting') break;
      expect(Date.now()).toBeGreaterThanOrEqual(notBeforeMs);
      expect(await queue.take('later')).toMatchObject({ state: 'active' });
      expect(ids(await listed())).toBe('later now');
    });

    it('a preempted job goes back in front of its priority, and that is no attempt', async () => {
      await addAll(run('a'), run('b'), run('high', { priority: 1 }));
      await queue.take('b');
      await queue.progress('b', { step: 20 });
      await queue.requeue('b');
      const [, second] = await listed();
      expect(second).toMatchObject({ id: 'b', state: 'waiting', failedAttempts: 0, progress: { step: 20 } });
      expect(ids(await queue.list())).toBe('high b a');
      await queue.take('b');
      expect(await queue.fail('b', 'for good')).toMatchObject({ state: 'failed', failedAttempts: 1 });
    });

    it('progress is kept of an active job', async () => {
      await addAll(run('a'));
      await expect(queue.progress('a', 1)).rejects.toMatchObject({ code: 'failed_precondition' });
      await queue.take('a');
      for (const step of [1, 2, 3]) await queue.progress('a', { step });
      expect((await listed())[0]).toMatchObject({ state: 'active', progress: { step: 3 } });
    });

    it('is paused as a whole, and job by job', async () => {
      await addAll(run('a'), run('b'));
      await queue.pause();
      await restart();
      expect(await queue.isPaused()).toBe(true);
      await expect(queue.take('a')).rejects.toMatchObject(refusal('job a cannot be started, the queue is paused'));
      await queue.resume();
      await restart();
      expect(await queue.isPaused()).toBe(false);
      await queue.pause('a');
      expect((await listed()).map(({ id, state }) => `${id} ${state}`)).toEqual(['a paused', 'b waiting']);
      await expect(queue.take('a')).rejects.toMatchObject(refusal('job a cannot be started, it is paused'));
      await queue.resume('a');
      await queue.take('a');
      await expect(queue.pause('a')).rejects.toMatchObject(refusal('job a cannot be paused, it is active'));
      expect((await listed())[0]).toMatchObject({ id: 'a', state: 'active' });
    });

    it('cancels what waits, what is delayed and what is active, for good', async () => {
      await addAll(run('a'), run('b', { notBeforeMs: Date.now() + 60_000 }), run('c', { attempts: 9 }), run('d'));
      await queue.take('c');
      for (const id of ['a', 'b', 'c']) expect(await queue.cancel(id, 'not needed')).toEqual([id]);
      const jobs = await listed();
      expect(jobs.map(({ state }) => state)).toEqual(['waiting', 'cancelled', 'cancelled', 'cancelled']);
      expect(jobs[1]).toMatchObject({ reason: 'not needed', endedAtMs: expect.any(Number) });
      await expect(queue.cancel('a', 'again')).rejects.toMatchObject(
        refusal('job a cannot be cancelled, it is cancelled'),
      );
      await expect(queue.take('a')).rejects.toMatchObject({ code: 'failed_precondition' });
    });

    it('refuses a job that is there already, one that is unknown, and what cannot be a job', async () => {
      await queue.add(run('a'));
      await expect(queue.add(run('a'))).rejects.toMatchObject({
        ...{ code: 'already_exists', message: 'job a is in the queue already' },
      });
      await expect(queue.get('x')).rejects.toMatchObject({
        code: 'not_found',
        message: 'there is no job x in the queue',
      });
      await expect(queue.take('x')).rejects.toMatchObject({ code: 'not_found' });
      const wrong = [{ id: '7' }, { id: 'a:b' }, { attempts: 0 }, { priority: 2e6 }, { backoffMs: -1 }, { data: 1n }];
      for (const fields of wrong)
        await expect(queue.add({ ...run('z'), ...fields })).rejects.toMatchObject({ code: 'invalid_argument' });
      expect(ids(await listed())).toBe('a');
    });

    it('yields a change at once and after every call', async () => {
      const stop = new AbortController();
      let yields = 0;
      const following = (async () => {
        for await (const _ of queue.changes(stop.signal)) yields++;
      })();
      await waitFor('a change at once', () => yields >= 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(yields).toBe(1);
      await queue.add(run('a'));
      await waitFor('the change', () => yields >= 2);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(yields).toBe(2);
      stop.abort();
      await following;
    });
  });

  describe('a parent with children', () => {
    const sweep = run('sweep', { kind: 'sweep' });
    const names = Array.from({ length: 20 }, (_, index) => `child-${index}`);

    it('of which 20 run over restarts repeats none that is done, and waits for all of them', async () => {
      await queue.addFlow(
        sweep,
        names.map((id) => run(id)),
      );
      expect(await queue.get('sweep')).toMatchObject({ state: 'waitingForChildren', children: names });
      expect(await queue.get('child-7')).toMatchObject({ state: 'waiting', parent: 'sweep' });
      const done: string[] = [];
      for (;;) {
        const next = (await queue.list()).find(({ state, kind }) => state === 'waiting' && kind === 'run');
        if (next === undefined) break;
        expect(await queue.get('sweep')).toMatchObject({ state: 'waitingForChildren' });
        await queue.take(next.id);
        if (done.length % 5 === 2) await restart();
        if (done.length % 7 === 3) await queue.fail(next.id, 'diverged');
        else await queue.complete(next.id, { loss: done.length });
        if (done.length % 5 === 4) await restart();
        done.push(next.id);
      }
      expect(done).toEqual(names);
      await listed();
      expect(await queue.take('sweep')).toMatchObject({ state: 'active' });
      await queue.complete('sweep', { learningRate: 0.001 });
      const all = await listed();
      expect(all.find(({ id }) => id === 'sweep')).toMatchObject({ state: 'completed', children: names });
      expect(all.filter(({ state }) => state === 'completed').length).toBe(18);
      expect(all.filter(({ state }) => state === 'failed').length).toBe(3);
    });

    it('is added whole or not at all', async () => {
      await queue.add(run('child-3'));
      await expect(
        queue.addFlow(
          sweep,
          names.map((id) => run(id)),
        ),
      ).rejects.toMatchObject({ code: 'already_exists' });
      await expect(queue.addFlow(sweep, [run('z'), run('z')])).rejects.toMatchObject({ code: 'already_exists' });
      expect(ids(await listed())).toBe('child-3');
    });

    it('is not held up by a child that was cancelled', async () => {
      await queue.addFlow(sweep, [run('a'), run('b')]);
      await expect(queue.take('sweep')).rejects.toMatchObject(
        refusal('job sweep cannot be started, it is waiting for its children'),
      );
      await queue.cancel('a', 'diverges');
      await queue.take('b');
      await queue.complete('b', 1);
      expect((await listed())[0]).toMatchObject({ id: 'sweep', state: 'waiting' });
    });

    it('is moved, paused and cancelled with those of its children that have not ended', async () => {
      await addAll(run('other'));
      await queue.addFlow(sweep, [run('a'), run('b'), run('c'), run('d')]);
      await queue.take('b');
      await queue.take('c');
      await queue.complete('c', 1);
      await queue.move('sweep', { before: 'other' });
      expect(ids(await queue.list())).toBe('b a d other sweep c');
      await queue.move('sweep', { priority: 3 });
      await queue.pause('sweep');
      expect((await listed()).map(({ id, state }) => `${id} ${state}`)).toEqual([
        ...['b active', 'a paused', 'd paused', 'other waiting', 'sweep waitingForChildren', 'c completed'],
      ]);
      expect([...(await queue.cancel('sweep', 'enough'))].sort()).toEqual(['a', 'b', 'd', 'sweep']);
      const states = new Map((await listed()).map(({ id, state }) => [id, state]));
      expect(Object.fromEntries(states)).toEqual({
        ...{ other: 'waiting', a: 'cancelled', b: 'cancelled', c: 'completed', d: 'cancelled', sweep: 'cancelled' },
      });
    });
  });

  it('1,000 queued jobs are listed in less than half a second', async () => {
    const data = { recipe: 'debugTiny', text: 'x'.repeat(3000) };
    await Promise.all(Array.from({ length: 1000 }, (_, index) => queue.add(run(`job-${index}`, { data }))));
    await restart();
    const beganMs = performance.now();
    expect((await queue.list()).length).toBe(1000);
    expect(performance.now() - beganMs).toBeLessThan(500);
  });
}
