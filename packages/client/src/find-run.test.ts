import { WeftError } from '@weft/common';
import { Home, writeCoordinatorFile } from '@weft/files';
import { RunsService } from '@weft/proto';
import { type Handlers, serve, service } from '@weft/rpc';
import { RunLog, temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { chooseRun, listRuns, withRun } from './find-run.js';

const runs = ['debug-tiny-20261123-0558-k3f9', 'debug-tiny-20261123-0601-x2y7', 'mm1-3b-20261201-1200-aaaa'];

describe('the run a person means', () => {
  it('is named by its whole id, its beginning, its end, or as the last', () => {
    expect(chooseRun('mm1-3b-20261201-1200-aaaa', runs)).toBe(runs[2]);
    expect(chooseRun('mm1', runs)).toBe(runs[2]);
    expect(chooseRun('x2y7', runs)).toBe(runs[1]);
    expect(chooseRun('last', runs)).toBe(runs[2]);
  });

  it('must be one', () => {
    expect(() => chooseRun('debug', runs)).toThrow('2 runs fit "debug"');
    expect(() => chooseRun('last', [])).toThrow('there is no run yet');
  });

  it('is guessed when it is mistyped', () => {
    expect(() => chooseRun('mm1-3b-20261201-1200-aaab', runs)).toThrow(
      expect.objectContaining({ code: 'not_found', hint: `did you mean ${runs[2]}; weft ls lists them all` }),
    );
    expect(() => chooseRun('zzz', runs)).toThrow(expect.objectContaining({ hint: 'see weft ls' }));
  });
});

it('runs are read from the files when the coordinator of a home ends while it is asked', async () => {
  await using home = await temporaryDirectory();
  const log = new RunLog().assigned(1, 1, 'here').committed(1, 20);
  await log.write(home.path);
  const ends = () => {
    throw new WeftError('cancelled', 'the coordinator shuts down');
  };
  const handlers = {
    ...{ launch: ends, resume: ends, stop: ends, get: ends, list: ends, watch: ends, readLog: ends },
    goodput: ends,
    ranks: ends,
    profile: ends,
    saveCheckpoint: ends,
    changeMixture: ends,
    cluster: () => ({ coordinatorVersion: '0.1.0', workers: [], store: 'files', storeError: '' }),
  } satisfies Handlers<typeof RunsService>;
  const server = await serve({ services: [service(RunsService, handlers)] });
  try {
    await writeCoordinatorFile(new Home(home.path), {
      ...{ address: server.address, metricsAddress: '', processId: process.pid, version: '' },
    });
    const location = { home: home.path, coordinator: undefined, redisUrl: undefined, keyPrefix: undefined };
    expect((await listRuns(location)).runs).toEqual([expect.objectContaining({ runId: log.runId, step: 20 })]);
    await withRun(location, 'last', async ({ run, client }) => {
      expect(run.runId).toBe(log.runId);
      expect(client).toBeUndefined();
    });
    // Who names a coordinator wants its answer and no other.
    await expect(listRuns({ ...location, coordinator: server.address })).rejects.toThrow('shuts down');
  } finally {
    await server.close(0);
  }
});
