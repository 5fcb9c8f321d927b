import { readdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ProcessLock } from './process-lock.js';

let directory: TemporaryDirectory;
let path = '';
beforeEach(async () => {
  directory = await temporaryDirectory();
  path = join(directory.path, 'lock');
});
afterEach(() => directory.remove());

const acquire = () => ProcessLock.acquire(path, 'the store');

it('is held by one, until it gives it back, and leaves no other file behind', async () => {
  const lock = await acquire();
  await expect(acquire()).rejects.toMatchObject({
    code: 'failed_precondition',
    message: 'the store is in use by this very process',
  });
  expect(await readdir(directory.path)).toEqual(['lock']);
  await lock.release();
  await lock.release();
  expect(await readdir(directory.path)).toEqual([]);
  await (await acquire()).release();
});

it('of a living process is honoured', async () => {
  const lock = await acquire();
  const mine = JSON.parse(await readFile(path, 'utf8'));
  const ticks = (await readFile(`/proc/${process.ppid}/stat`, 'utf8')).split(') ').at(-1)?.split(' ')[19];
  await lock.release();
  await writeFile(path, JSON.stringify({ ...mine, processId: process.ppid, startTicks: ticks }));
  await expect(acquire()).rejects.toMatchObject({
    message: `the store is in use by process ${process.ppid}`,
    hint: 'stop that process first',
  });
});

it.each([
  ['a dead process', { processId: 2 ** 22 + 1, startTicks: '1', hostName: hostname() }],
  [
    'an earlier process whose id was given to another',
    { processId: process.ppid, startTicks: '1', hostName: hostname() },
  ],
  ['nobody, an empty file', undefined],
])('of %s is taken over', async (_, holder) => {
  await writeFile(path, holder === undefined ? '' : JSON.stringify(holder));
  const lock = await acquire();
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ processId: process.pid });
  expect(await readdir(directory.path)).toEqual(['lock']);
  await lock.release();
});

it('of a process on another host is honoured, and the hint says what to do', async () => {
  await writeFile(path, JSON.stringify({ processId: 1, startTicks: '1', hostName: 'node-7' }));
  await expect(acquire()).rejects.toMatchObject({
    message: 'the store is in use by process 1 on node-7',
    hint: `stop that process, or remove ${path} if it is gone`,
  });
});

it('when many want a stale lock at once, one gets it', async () => {
  for (let round = 0; round < 20; round++) {
    await writeFile(path, JSON.stringify({ processId: 2 ** 22 + 1, startTicks: '1', hostName: hostname() }));
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, acquire));
    const winners = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    expect(winners).toHaveLength(1);
    await winners[0]?.release();
    expect(await readdir(directory.path)).toEqual([]);
  }
});

it('the lock of a process that died while it took another over does not stand in the way', async () => {
  const dead = JSON.stringify({ processId: 2 ** 22 + 1, startTicks: '1', hostName: hostname() });
  await writeFile(path, dead);
  await writeFile(`${path}.takeover`, dead);
  const lock = await acquire();
  await lock.release();
  expect(await readdir(directory.path)).toEqual([]);
});

it('is not given back when another has taken it over', async () => {
  const lock = await acquire();
  await writeFile(path, 'another');
  await lock.release();
  expect(await readFile(path, 'utf8')).toBe('another');
});
