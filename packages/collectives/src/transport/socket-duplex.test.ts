import { createServer } from 'node:net';
import { deferred, sleep } from '@weft/common';
import { afterEach, expect, it } from 'vitest';
import { SocketDuplex } from './socket-duplex.js';
import { CollectingSink } from './testing/collecting-sink.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function connected(): Promise<readonly [SocketDuplex, SocketDuplex]> {
  const accepted = deferred<SocketDuplex>();
  const server = createServer((socket) => accepted.resolve(SocketDuplex.accepted(socket)));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const caller = SocketDuplex.connect({ host: '127.0.0.1', port });
  const duplexes = [caller, await accepted.promise] as const;
  cleanups.push(() => {
    for (const duplex of duplexes) duplex.destroy();
    server.close();
  });
  return duplexes;
}

it.each([0, 1])('keeps bytes that arrive before a sink wants them, in order (end %i)', async (end) => {
  const duplexes = await connected();
  const [reader, writer] = [duplexes[end]!, duplexes[1 - end]!];
  const sent = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
  for (let first = 0; first < sent.length; first += 100_000) {
    writer.write(sent.subarray(first, first + 100_000), () => {});
    await sleep(5);
  }
  for (const [first, length] of [
    [0, 10],
    [10, 90_000],
    [90_010, 209_990],
  ] as const) {
    const sink = new CollectingSink(length, 7_000);
    reader.receive(sink);
    await sink.full;
    expect(Buffer.compare(sink.bytes, sent.subarray(first, first + length))).toBe(0);
  }
});

it('delivers what was written before the end, and then is closed on both sides', async () => {
  const [caller, accepted] = await connected();
  const sink = new CollectingSink(5, 7_000);
  caller.receive(sink);
  accepted.write(new Uint8Array([1, 2, 3, 4, 5]), () => {});
  accepted.end();
  await sink.full;
  expect(Array.from(sink.bytes)).toEqual([1, 2, 3, 4, 5]);
  caller.receive(new CollectingSink(1, 7_000));
  expect(await caller.closed).toBeUndefined();
  expect(await accepted.closed).toBeUndefined();
});

it('closes with the reason when a connection cannot be made', async () => {
  const duplex = SocketDuplex.connect({ host: '127.0.0.1', port: 1 });
  expect((await duplex.closed)?.message).toContain('ECONNREFUSED');
});
