import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cuttingProxy, FakeClock, freePort, temporaryDirectory, waitFor } from './index.js';

describe('FakeClock', () => {
  it('stands still until it is turned', async () => {
    const clock = new FakeClock(1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1000, 0]);
    await clock.advance(50);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1050, 50]);
  });

  it('wakes sleeps in the order of their time, each at its own moment, new ones too', async () => {
    const clock = new FakeClock(0);
    const woken: string[] = [];
    const sleep = async (name: string, durationMs: number) => {
      await clock.sleep(durationMs);
      woken.push(`${name} at ${clock.nowMs()}`);
    };
    void sleep('late', 30);
    void sleep('early', 10).then(() => sleep('again', 10));
    void sleep('never', 31);
    await clock.advance(30);
    expect(woken).toEqual(['early at 10', 'again at 20', 'late at 30']);
    expect(clock.sleeping).toBe(1);
  });

  it('a sleep can be cancelled', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const asleep = clock.sleep(10, controller.signal);
    controller.abort();
    await expect(asleep).rejects.toMatchObject({ code: 'cancelled' });
    await expect(clock.sleep(10, controller.signal)).rejects.toMatchObject({ code: 'cancelled' });
    expect(clock.sleeping).toBe(0);
  });
});

it('a temporary directory is gone after its block', async () => {
  let path = '';
  {
    await using directory = await temporaryDirectory();
    path = directory.path;
    await writeFile(join(path, 'file'), 'x');
    expect(existsSync(path)).toBe(true);
  }
  expect(existsSync(path)).toBe(false);
});

it('a free port can be listened on', async () => {
  const port = await freePort();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await new Promise((resolve) => server.close(resolve));
});

describe('waitFor', () => {
  it('returns the first answer', async () => {
    let asked = 0;
    expect(await waitFor('the third time', () => ++asked === 3 && asked)).toBe(3);
  });

  it('says what it waited for, and why there was no answer', async () => {
    const never = waitFor('rain', () => Promise.reject(new Error('dry')), { timeoutMs: 20 });
    await expect(never).rejects.toMatchObject({
      code: 'deadline_exceeded',
      message: 'waited 20 ms in vain for rain',
      cause: expect.objectContaining({ message: 'dry' }),
    });
  });
});

it('a proxy passes on, keeps an answer back, and severs', async () => {
  const server = createServer((socket) =>
    socket.on('error', () => {}).on('data', (data) => socket.write(`re: ${data}`)),
  );
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await using proxy = await cuttingProxy(port);
  const ask = (text: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(proxy.port, '127.0.0.1', () => socket.write(text));
      socket.once('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.once('error', () => {});
      socket.once('close', () => resolve('no answer'));
    });
  expect(await ask('one')).toBe('re: one');
  proxy.cutAnswer();
  expect(await ask('two')).toBe('no answer');
  expect(await ask('three')).toBe('re: three');
  proxy.severAfter(2);
  expect(await ask('four')).toBe('re: four');
  expect(await ask('five')).toBe('no answer');
  expect(await ask('six')).toBe('no answer');
  proxy.mend();
  expect(await ask('seven')).toBe('re: seven');
  await new Promise((resolve) => server.close(resolve));
});
