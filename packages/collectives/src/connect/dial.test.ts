import { createServer, type Socket } from 'node:net';
import { parseAddress, sleep } from '@weft/common';
import { afterEach, describe, expect, it } from 'vitest';
import { Dialer } from './dial.js';
import type { Caller } from './handshake.js';

const caller: Caller = { runId: 'r', generation: 1, rank: 1, worldSize: 2, link: 'control', expertWorker: 0 };

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A server that accepts connections, counts them and stays silent; returns its address. */
async function silentServer(sockets: Socket[]): Promise<string> {
  const server = createServer((socket) => sockets.push(socket));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const bound = server.address();
  return `127.0.0.1:${typeof bound === 'object' ? bound?.port : ''}`;
}

function dialerTo(address: string): Dialer {
  return new Dialer({ address: parseAddress(address), token: 't', peer: 'rank 0', connections: 1 });
}

describe('dialing a peer that does not answer', () => {
  const unreachable = '127.0.0.1:1';

  it('ends with cancelled when it is cancelled in the pause before another attempt', async () => {
    const dialer = dialerTo(unreachable);
    const dialing = dialer.connect(caller);
    setTimeout(() => dialer.cancel(), 30);
    await expect(dialing).rejects.toMatchObject({
      code: 'cancelled',
      message: 'connecting to rank 0 at 127.0.0.1:1 was cancelled',
    });
  });

  it('ends with cancelled when it is cancelled during the handshake, and closes the connection', async () => {
    const sockets: Socket[] = [];
    const dialer = dialerTo(await silentServer(sockets));
    const dialing = dialer.connectReceiver(caller);
    while (sockets.length === 0) await sleep(1);
    const closed = new Promise((resolve) => sockets[0]!.resume().once('close', resolve));
    dialer.cancel();
    await expect(dialing).rejects.toMatchObject({ code: 'cancelled' });
    await closed;
  });

  it('ends with cancelled when it was cancelled before', async () => {
    const dialer = dialerTo(unreachable);
    dialer.cancel();
    await expect(dialer.connect(caller)).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('says why it has not answered yet', async () => {
    const dialer = dialerTo(unreachable);
    const dialing = dialer.connect(caller);
    while (!dialer.failureSummary.includes('ECONNREFUSED')) await sleep(1);
    expect(dialer.failureSummary).toContain('rank 0 did not answer at 127.0.0.1:1 (the connection closed');
    expect(dialer.hasAnswered).toBe(false);
    dialer.cancel();
    await expect(dialing).rejects.toMatchObject({ code: 'cancelled' });
  });
});
