import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { WEFT_VERSION } from '@weft/common';
import { Home, readJsonFile } from '@weft/files';
import { Hello, RunsService, WorkersService } from '@weft/proto';
import { channel } from '@weft/rpc';
import { createLogger } from '@weft/telemetry';
import { isServing, temporaryDirectory, waitFor } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { startCoordinator } from './start.js';
import { launchRequest } from './testing/open-coordinator.js';

const log = createLogger({ role: 'coordinator', level: 'silent' });
const options = (directory: string) =>
  ({
    home: new Home(directory),
    redisUrl: undefined,
    keyPrefix: undefined,
    standsBy: false,
    host: '127.0.0.1',
    port: 0,
    metricsPort: 0,
    page: 'off',
    recover: 'auto',
    heartbeatTimeoutMs: 10_000,
    pricePerWorkerHour: undefined,
  }) as const;

describe('a coordinator on its sockets', () => {
  it('answers, says where it is, shows its metrics, and leaves nothing behind', async () => {
    await using home = await temporaryDirectory();
    const running = await startCoordinator(options(home.path), log);
    const file = join(home.path, 'coordinator.json');
    try {
      expect(await readJsonFile(file)).toEqual({
        address: running.address,
        metricsAddress: running.metricsAddress,
        processId: process.pid,
        version: '0.1.0',
      });
      const open = await channel(running.address);
      expect(await isServing(open)).toBe(true);
      const run = await open.unary(RunsService.launch, launchRequest());
      expect(run.reason).toContain('it waits for 2 more workers');
      const { runs } = await open.unary(RunsService.list, {});
      expect(runs.map(({ runId }) => runId)).toEqual([run.runId]);
      await expect(open.unary(WorkersService.sendHeartbeat, { workerId: 'x', token: 't' })).rejects.toMatchObject({
        code: 'not_found',
      });
      const page = await (await fetch(`http://${running.metricsAddress}/metrics`)).text();
      expect(page).toContain('weft_coordinator_runs{status="queued"} 1');
      open.close();
    } finally {
      await running.close();
    }
    expect(existsSync(file)).toBe(false);
    expect(existsSync(join(home.path, 'coordinator.lock'))).toBe(false);
  });

  it('answers while 200 workers join on connections of their own, and knows all of them until they leave', async () => {
    await using home = await temporaryDirectory();
    const running = await startCoordinator({ ...options(home.path), heartbeatTimeoutMs: 600_000 }, log);
    const asking = await channel(running.address);
    const connected = async () => (await asking.unary(RunsService.cluster, {})).workers.length;
    const join = async (_: unknown, at: number) => {
      const own = await channel(running.address);
      const stream = own.bidi(WorkersService.connect);
      const hello = Hello.fromPartial({ workerId: `w${at}`, hostName: `h${at}`, version: WEFT_VERSION, device: 'cpu' });
      stream.send({ body: { $case: 'hello', hello } });
      const { value } = await stream.messages[Symbol.asyncIterator]().next();
      expect(value?.body?.$case).toBe('welcome');
      return own;
    };
    try {
      const joining = Array.from({ length: 200 }, join);
      expect((await asking.unary(RunsService.list, {})).runs).toEqual([]);
      const connections = await Promise.all(joining);
      await waitFor('all of them', async () => (await connected()) === 200, { timeoutMs: 60_000 });
      for (const connection of connections) connection.close();
      await waitFor('none of them', async () => (await connected()) === 0, { timeoutMs: 60_000 });
      asking.close();
    } finally {
      await running.close();
    }
  });

  it.each([
    ['a host name of three million characters', { hostName: 'x'.repeat(3_000_000) }, 'hostName'],
    ['a device on two lines', { device: 'cpu\n{"level":"error"}' }, 'device'],
    ['a thousand backends', { bf16Backends: Array.from({ length: 1000 }, () => 'tensorflow') }, 'bf16Backends'],
    ['a run of a million characters', { held: { runId: 'x'.repeat(1_000_000) } }, 'held.runId'],
  ])('accepts no worker with %s', async (_, field, name) => {
    await using home = await temporaryDirectory();
    const running = await startCoordinator(options(home.path), log);
    const open = await channel(running.address);
    try {
      const stream = open.bidi(WorkersService.connect);
      const hello = Hello.fromPartial({ workerId: 'w', hostName: 'here', version: '0.1.0', ...field });
      stream.send({ body: { $case: 'hello', hello } });
      await expect(stream.messages[Symbol.asyncIterator]().next()).rejects.toMatchObject({
        code: 'invalid_argument',
        message: expect.stringContaining(`the field ${name} of a worker's hello must be one line`),
      });
      expect((await open.unary(RunsService.cluster, {})).workers).toEqual([]);
    } finally {
      open.close();
      await running.close();
    }
  });

  it('on all addresses names one that other hosts may reach', async () => {
    await using home = await temporaryDirectory();
    const running = await startCoordinator({ ...options(home.path), host: '0.0.0.0' }, log);
    try {
      const [host = ''] = running.address.split(':');
      const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
      const isAlone = own.every((each) => each.family !== 'IPv4' || each.internal);
      expect(own.find(({ address }) => address === host)?.internal).toBe(isAlone);
      const open = await channel(running.address);
      expect(await isServing(open)).toBe(true);
      open.close();
    } finally {
      await running.close();
    }
  });

  it('says so when its port is taken, and lets go of its home', async () => {
    await using first = await temporaryDirectory();
    await using second = await temporaryDirectory();
    const running = await startCoordinator(options(first.path), log);
    const port = Number(running.address.split(':')[1]);
    try {
      await expect(startCoordinator({ ...options(second.path), port }, log)).rejects.toMatchObject({
        code: 'port_in_use',
      });
      expect(existsSync(join(second.path, 'coordinator.lock'))).toBe(false);
    } finally {
      await running.close();
    }
  });
});
