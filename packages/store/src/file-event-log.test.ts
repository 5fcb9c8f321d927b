import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EventLog } from './event-log.js';
import { FileEventLog } from './file-event-log.js';
import { readLogFile } from './log-file.js';

let directory: TemporaryDirectory;
let path = '';
const open: FileEventLog[] = [];
beforeEach(async () => {
  directory = await temporaryDirectory();
  path = join(directory.path, 'runs', 'tiny-1', 'events.jsonl');
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((log) => log.close()));
  await directory.remove();
});

async function opened(): Promise<FileEventLog> {
  const log = await FileEventLog.open(path);
  open.push(log);
  return log;
}

const everyTenth = (from: number, to: number) =>
  Array.from({ length: Math.floor((to - from) / 10) }, (_, i) => from + 10 * i + 5);

async function records(log: Pick<EventLog, 'read'>, from?: number): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const { record } of log.read(from)) all.push(record);
  return all;
}

describe('an event log in a file', () => {
  it('begins empty, in a folder it makes', async () => {
    const log = await opened();
    expect(log.lastSequence).toBe(0);
    expect(log.repaired).toBeUndefined();
    expect(await records(log)).toEqual([]);
  });

  it('keeps any JSON value, in order, numbered from 1, over a restart', async () => {
    const values = [
      { text: 'line\nfeed \u2028 ünïcode 🧵' },
      [1, null],
      'text',
      0.1,
      false,
      { sequence: 9, crc32: 'x' },
    ];
    const log = await opened();
    expect(await log.append(0, values.slice(0, 2))).toBe(2);
    expect(await log.append(2, values.slice(2))).toBe(6);
    expect(await log.append(6, [])).toBe(6);
    await log.close();
    const again = await opened();
    expect(again.lastSequence).toBe(6);
    const entries = [];
    for await (const entry of again.read()) entries.push(entry);
    expect(entries).toEqual(values.map((record, index) => ({ sequence: index + 1, record })));
    expect(await records(again, 6)).toEqual(values.slice(5));
    expect(await records(again, 7)).toEqual([]);
  });

  it('is one line of JSON per record', async () => {
    const log = await opened();
    await log.append(0, [{ step: 1 }, { step: 2 }]);
    const lines = (await readFile(path, 'utf8')).split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { sequence: 1, last: 2, crc32: expect.stringMatching(/^[0-9a-f]{8}$/), record: { step: 1 } },
      { sequence: 2, last: 2, crc32: expect.stringMatching(/^[0-9a-f]{8}$/), record: { step: 2 } },
    ]);
  });

  it('refuses a writer that does not know the last record, and writes nothing', async () => {
    const log = await opened();
    await log.append(0, ['a', 'b']);
    for (const expected of [0, 1, 3]) {
      await expect(log.append(expected, ['c'])).rejects.toMatchObject({
        code: 'failed_precondition',
        message: `the event log ${path} stands at 2, but the writer expected ${expected}`,
      });
    }
    expect(await records(log)).toEqual(['a', 'b']);
  });

  it('writes appends made together in their order, each once', async () => {
    const log = await opened();
    const appends = Array.from({ length: 200 }, (_, i) => log.append(i, [i]));
    const late = log.append(7, ['late']);
    await expect(late).rejects.toMatchObject({ code: 'failed_precondition' });
    expect(await Promise.all(appends)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(await records(log)).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  it('refuses what JSON cannot hold, and goes on', async () => {
    const log = await opened();
    const circle: unknown[] = [];
    circle.push(circle);
    for (const record of [undefined, circle, 1n, () => {}]) {
      await expect(log.append(0, ['fine', record])).rejects.toMatchObject({ code: 'invalid_argument' });
    }
    expect(await log.append(0, ['a'])).toBe(1);
  });

  it('waits for its writes when it closes, and takes no more', async () => {
    const log = await opened();
    const append = log.append(0, ['a']);
    await log.close();
    await log.close();
    expect(await append).toBe(1);
    await expect(log.append(1, ['b'])).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('admits one writer at a time, and readers besides', async () => {
    const log = await opened();
    await log.append(0, ['a']);
    await expect(FileEventLog.open(path)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `the event log ${path} is in use by this very process`,
    });
    expect(await records({ read: () => readLogFile(path) })).toEqual(['a']);
    await log.close();
    expect((await opened()).lastSequence).toBe(1);
  });

  it('says when there is no log to read', async () => {
    await expect(records({ read: () => readLogFile(path) })).rejects.toMatchObject({
      code: 'not_found',
      message: `there is no event log ${path}`,
    });
  });

  it('takes a failed write back, rejects all that waited for it, and goes on', async () => {
    const log = await opened();
    await log.append(0, ['a']);
    // The disk of this machine does not fail on request: a file size limit of the kernel would end the process.
    const handle = await import('node:fs/promises').then((fs) => fs.open(path, 'a'));
    const prototype: { datasync(): Promise<void> } = Object.getPrototypeOf(handle);
    await handle.close();
    const { datasync } = prototype;
    prototype.datasync = () => Promise.reject(new Error('ENOSPC: no space left on device, write'));
    const appends = [log.append(1, ['b']), log.append(2, ['c'])];
    const outcomes = await Promise.allSettled(appends);
    prototype.datasync = datasync;
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
      expect(outcome).toMatchObject({ reason: { message: expect.stringContaining('no space left on device') } });
    }
    expect(log.lastSequence).toBe(1);
    expect(await log.append(1, ['d'])).toBe(2);
    expect(await records(log)).toEqual(['a', 'd']);
  });
});

describe('after a crash', () => {
  it('a torn last line is cut off and said', async () => {
    const log = await opened();
    await log.append(0, ['a']);
    await log.close();
    await appendFile(path, '{"sequence":2,"last":2,"cr');
    const again = await opened();
    expect(again.repaired).toBe(`cut 26 bytes of an unfinished write off the end of ${path}, after record 1`);
    expect(await again.append(1, ['b'])).toBe(2);
    await again.close();
    const third = await opened();
    expect(third.repaired).toBeUndefined();
    expect(await records(third)).toEqual(['a', 'b']);
  });

  it('an append of several records survives whole or not at all', async () => {
    const log = await opened();
    await log.append(0, ['a']);
    const { length } = await readFile(path);
    await log.append(1, ['b', 'c', 'd']);
    await log.close();
    const whole = await readFile(path);
    const afterB = whole.indexOf('\n', length) + 1;
    for (const cut of [
      length,
      length + 1,
      afterB,
      ...everyTenth(length, whole.length),
      whole.length - 1,
      whole.length,
    ]) {
      await writeFile(path, whole.subarray(0, cut));
      const again = await FileEventLog.open(path);
      expect(await records(again)).toEqual(cut === whole.length ? ['a', 'b', 'c', 'd'] : ['a']);
      expect(again.lastSequence).toBe(cut === whole.length ? 4 : 1);
      expect(again.repaired === undefined).toBe(cut === length || cut === whole.length);
      await again.close();
    }
  });

  it('zeros at the end, as some file systems leave them, are cut off', async () => {
    const log = await opened();
    await log.append(0, ['a']);
    await log.close();
    await appendFile(path, Buffer.alloc(5000));
    expect(await records(await opened())).toEqual(['a']);
  });

  it.each([
    ['a changed byte', (text: string) => text.replace('"b"', '"x"'), 'line 2: its checksum does not match'],
    ['a missing line', (text: string) => text.replace(/^.*"b".*\n/m, ''), 'line 2: sequence 3 where 2 belongs'],
    ['a doubled line', (text: string) => text.replace(/^(.*"b".*\n)/m, '$1$1'), 'line 3: sequence 2 where 3 belongs'],
    ['something else', (text: string) => text.replace(/^.*"b".*$/m, 'hello'), 'line 2: not a line of an event log'],
    ['a changed last line', (text: string) => text.replace('"c"', '"x"'), 'line 3: its checksum does not match'],
  ])('%s is an error that names the line, and nothing is cut', async (_, damage, sentence) => {
    const log = await opened();
    for (const [index, record] of ['a', 'b', 'c'].entries()) await log.append(index, [record]);
    await log.close();
    const damaged = damage(await readFile(path, 'utf8'));
    await writeFile(path, damaged);
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(FileEventLog.open(path)).rejects.toMatchObject({
        code: 'corrupt_data',
        message: `the event log ${path} is damaged at ${sentence}`,
      });
    }
    expect(await readFile(path, 'utf8')).toBe(damaged);
  });

  it('whatever is appended and wherever it crashes, no acknowledged record is lost and none is doubled', async () => {
    const append = fc.record({
      do: fc.constant('append' as const),
      sizes: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 4 }),
    });
    const crash = fc.record({
      do: fc.constant('crash' as const),
      size: fc.integer({ min: 1, max: 3 }),
      keep: fc.double({ min: 0, max: 1, noNaN: true }),
      garbage: fc.constantFrom(0, 0, 1, 700),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(append, crash), { maxLength: 10 }), async (actions) => {
        await using place = await temporaryDirectory();
        const file = join(place.path, 'events.jsonl');
        const acknowledged: unknown[] = [];
        let made = 0;
        const batch = (size: number) =>
          Array.from({ length: size }, () => ({ id: made++, text: 'ü'.repeat(made % 5) }));
        let log = await FileEventLog.open(file);
        for (const action of actions) {
          if (action.do === 'append') {
            let expected = acknowledged.length;
            const appends = action.sizes.map((size) => {
              const added = batch(size);
              const appended = log.append(expected, added);
              expected += size;
              acknowledged.push(...added);
              return appended;
            });
            expect((await Promise.all(appends)).at(-1)).toBe(acknowledged.length);
            continue;
          }
          // The process dies during an append: any part of its bytes has reached the file, and nobody was told.
          const { length: before } = await readFile(file);
          const lost = batch(action.size);
          await log.append(acknowledged.length, lost);
          await log.close();
          const { length: after } = await readFile(file);
          const kept = before + Math.round((after - before) * action.keep);
          await truncate(file, kept);
          if (action.garbage > 0 && kept < after) await appendFile(file, Buffer.alloc(action.garbage));
          log = await FileEventLog.open(file);
          if (log.lastSequence > acknowledged.length) acknowledged.push(...lost);
          expect(await records(log)).toEqual(acknowledged);
        }
        expect(await records(log)).toEqual(acknowledged);
        await log.close();
      }),
      { numRuns: 25 },
    );
  });
});
