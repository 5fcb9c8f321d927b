import { expect, it } from 'vitest';
import { openStore } from '../open-store.js';
import type { StoreOptions } from '../store.js';
import { all } from './store-fixture.js';
import { StoreProcess } from './store-process.js';

/** Goes on with the active job, then queues, takes, logs and completes one job after the other, and prints each. */
const SCRIPT = `
  for (const { id } of (await queue.list()).filter(({ state }) => state === 'active')) {
    await queue.complete(id, 'late');
    say('done ' + id);
  }
  for (let index = (await queue.list()).length; ; index++) {
    const id = 'job-' + index;
    if ((await queue.list()).every((job) => job.id !== id)) await queue.add({ id, kind: 'run', data: null });
    await queue.take(id);
    say('taken ' + id);
    await log.append(log.lastSequence, [{ taken: id }, { by: process.pid }]);
    say('logged ' + id);
    await queue.complete(id, null);
    say('done ' + id);
  }`;

/** What survives the death of the process that uses a store. */
export function describeCrashes(options: () => StoreOptions): void {
  it('kill -9 in the middle of the work loses nothing that was said, and nothing that was done runs again', async () => {
    const said: string[] = [];
    for (let round = 1; round <= 4; round++) {
      const child = new StoreProcess(options(), SCRIPT);
      await child.waitForLine(/^done/);
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 200));
      await child.kill();
      said.push(...child.lines);
      const store = await openStore(options());
      const held = await store.lease.acquire('this test', { waitMs: 5000 });
      const states = new Map((await (await store.openQueue(held)).list()).map(({ id, state }) => [id, state]));
      const records = await all((await store.openLog('tiny-1', held)).read());
      const logged = JSON.stringify(records);
      for (const line of said) {
        const [what, id = ''] = line.split(' ');
        if (what === 'done') expect(`${id} ${states.get(id)}`).toBe(`${id} completed`);
        if (what === 'logged') expect(logged).toContain(`{"taken":"${id}"}`);
      }
      expect(records.map(({ sequence }) => sequence)).toEqual(records.map((_, index) => index + 1));
      expect(records.length % 2).toBe(0);
      const taken = said.filter((line) => line.startsWith('taken'));
      expect(new Set(taken).size).toBe(taken.length);
      await held.release();
      await store.close();
    }
  });
}
