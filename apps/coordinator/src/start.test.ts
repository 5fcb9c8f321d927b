import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Home, readJsonFile } from '@weft/files';
import { RunsService, WorkersService } from '@weft/proto';
import { channel } from '@weft/rpc';
import { createLogger } from '@weft/telemetry';
import { isServing, temporaryDirectory } from '@weft/testing';
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
    recover: 'auto',
    heartbeatTimeoutMs: 10_000,
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
      await expect(open.unary(WorkersService.sendHeartbeat, { workerId: 'x' })).rejects.toMatchObject({
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
