import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { freePort, temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { findCoordinator, outboundAddress } from './find-coordinator.js';

describe('the coordinator of a worker', () => {
  it('is the one that was named, or the one that says in its home where it is', async () => {
    await using home = await temporaryDirectory();
    expect(await findCoordinator({ coordinator: 'a:1', home: home.path })).toBe('a:1');
    const nobody = findCoordinator({ coordinator: undefined, home: home.path });
    await expect(nobody).rejects.toMatchObject({ code: 'unavailable' });
    await writeFile(join(home.path, 'coordinator.json'), '{"address":"b:2","processId":1}');
    expect(await findCoordinator({ coordinator: undefined, home: home.path })).toBe('b:2');
    await writeFile(join(home.path, 'coordinator.json'), '{"addr');
    await expect(findCoordinator({ coordinator: undefined, home: home.path })).rejects.toThrow('no coordinator keeps');
  });
});

describe('the host towards a coordinator', () => {
  it('is the local end of a connection to it, and loopback where there is none', async () => {
    const server = createServer((socket) => socket.destroy());
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
    expect(await outboundAddress(`127.0.0.1:${port}`)).toBe('127.0.0.1');
    server.close();
    expect(await outboundAddress(`127.0.0.1:${await freePort()}`)).toBe('127.0.0.1');
  });
});
