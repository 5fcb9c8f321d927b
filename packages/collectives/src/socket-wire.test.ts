import { createServer } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import type { Sink } from './link.js';
import { SocketWire } from './socket-wire.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function connected(): Promise<readonly [SocketWire, SocketWire]> {
  let accept: (wire: SocketWire) => void = () => {};
  const accepted = new Promise<SocketWire>((resolve) => {
    accept = resolve;
  });
  const server = createServer((socket) => accept(SocketWire.accepted(socket)));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const caller = SocketWire.connect({ host: '127.0.0.1', port });
  const wires = [caller, await accepted] as const;
  cleanups.push(() => {
    for (const wire of wires) wire.destroy();
    server.close();
  });
  return wires;
}

/** Takes bytes in pieces of a few, and resolves when it has as many as wanted. */
class Basket implements Sink {
  readonly full: Promise<void>;
  readonly bytes: Uint8Array;
  #filled = 0;
  #done: () => void = () => {};

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.full = new Promise((resolve) => {
      this.#done = resolve;
    });
  }

  target(): Uint8Array | undefined {
    return this.#filled === this.bytes.length ? undefined : this.bytes.subarray(this.#filled, this.#filled + 7_000);
  }

  landed(bytes: number): void {
    this.#filled += bytes;
    if (this.#filled === this.bytes.length) this.#done();
  }
}

it.each([0, 1])('keeps bytes that come before anybody wants them, in order (end %i)', async (end) => {
  const wires = await connected();
  const [reader, writer] = [wires[end]!, wires[1 - end]!];
  const sent = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
  for (let first = 0; first < sent.length; first += 100_000) {
    writer.write(sent.subarray(first, first + 100_000), () => {});
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (const [first, length] of [
    [0, 10],
    [10, 90_000],
    [90_010, 209_990],
  ] as const) {
    const basket = new Basket(length);
    reader.pull(basket);
    await basket.full;
    expect(Buffer.compare(basket.bytes, sent.subarray(first, first + length))).toBe(0);
  }
});

it('delivers what was written before the end, and then is closed on both sides', async () => {
  const [caller, accepted] = await connected();
  const basket = new Basket(5);
  caller.pull(basket);
  accepted.write(new Uint8Array([1, 2, 3, 4, 5]), () => {});
  accepted.end();
  await basket.full;
  expect(Array.from(basket.bytes)).toEqual([1, 2, 3, 4, 5]);
  caller.pull(new Basket(1));
  expect(await caller.closed).toBeUndefined();
  expect(await accepted.closed).toBeUndefined();
});

it('tells why a connection could not be made', async () => {
  const wire = SocketWire.connect({ host: '127.0.0.1', port: 1 });
  expect((await wire.closed)?.message).toContain('ECONNREFUSED');
});
