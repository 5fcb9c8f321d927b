import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FileJobQueue } from './file-job-queue.js';
import type { JobQueue, NewJob } from './job-queue.js';

const open = (path: string) => FileJobQueue.open(path, async () => {});
const run = (id: string): NewJob => ({ id, kind: 'run', data: { id }, attempts: 2, backoffMs: 0 });

const NAMES = ['a', 'b', 'c', 'd', 'sweep'];
const CALLS: readonly ((queue: JobQueue, id: string) => Promise<unknown>)[] = [
  (queue, id) => queue.take(id),
  (queue, id) => queue.complete(id, { by: id }),
  (queue, id) => queue.fail(id, 'diverged'),
  (queue, id) => queue.requeue(id),
  (queue, id) => queue.cancel(id, 'enough'),
  (queue, id) => queue.move(id, { before: 'b' }),
  (queue, id) => queue.pause(id),
  (queue, id) => queue.resume(id),
];

it('torn at any byte of a call, the file holds all that was said before, and the call whole or not at all', async () => {
  const step = fc.record({
    call: fc.constantFrom(...CALLS),
    id: fc.constantFrom(...NAMES),
    /** How much of the last write survives; undefined: no crash. */
    survives: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      await using directory = await temporaryDirectory();
      const path = join(directory.path, 'queue.jsonl');
      let queue = await open(path);
      await queue.addFlow({ id: 'sweep', kind: 'sweep', data: null }, ['a', 'b'].map(run));
      for (const id of ['c', 'd']) await queue.add(run(id));
      for (const { call, id, survives } of steps) {
        const before = await queue.list();
        const { size } = await stat(path);
        await call(queue, id).catch((error) => expect(error).toMatchObject({ code: 'failed_precondition' }));
        if (survives === undefined) continue;
        const after = await queue.list();
        await queue.close();
        const written = (await stat(path)).size - size;
        const kept = Math.floor(written * survives);
        await truncate(path, size + kept);
        queue = await open(path);
        expect(await queue.list()).toEqual(kept === written ? after : before);
      }
      await queue.close();
    }),
    { numRuns: 60 },
  );
});

it('is written anew when it has grown, and says the same', async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'queue.jsonl');
  const first = await open(path);
  for (const id of NAMES) await first.add(run(id));
  await first.take('a');
  await Promise.all(Array.from({ length: 1500 }, (_, step) => first.progress('a', { step })));
  await first.pause();
  const jobs = await first.list();
  await first.close();
  const again = await open(path);
  expect(await again.list()).toEqual(jobs);
  expect(await again.isPaused()).toBe(true);
  await again.close();
  expect((await readFile(path, 'utf8')).trim().split('\n').length).toBe(NAMES.length + 1);
});

it('keeps the newest 1,000 that have ended', async () => {
  await using directory = await temporaryDirectory();
  const queue = await open(join(directory.path, 'queue.jsonl'));
  const ids = Array.from({ length: 1005 }, (_, index) => `job-${index}`);
  await queue.addFlow({ id: 'sweep', kind: 'sweep', data: null }, ids.map(run));
  await queue.add(run('other'));
  await queue.cancel('other', 'of no parent');
  expect((await queue.list()).length).toBe(1007);
  await queue.cancel('sweep', 'enough');
  expect((await queue.list()).length).toBe(1000);
  await queue.close();
});

it('with a changed byte is refused', async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'queue.jsonl');
  const queue = await open(path);
  await queue.add(run('a'));
  await queue.close();
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace('"added"', '"melted"'));
  await expect(open(path)).rejects.toMatchObject({ code: 'corrupt_data' });
});
