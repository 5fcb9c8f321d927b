import { Random } from '@weft/common';
import { afterEach, describe, expect, it } from 'vitest';
import type { Sink } from './link.js';
import { memoryWires } from './memory-wire.js';
import { SharedInlet } from './shared-inlet.js';
import { SharedOutlet } from './shared-outlet.js';
import { SharedPipe } from './shared-pipe.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function connected() {
  const [left, right] = memoryWires();
  const pipe = SharedPipe.create()!;
  const ends = { outlet: new SharedOutlet(left, SharedPipe.open(pipe.name)!), inlet: new SharedInlet(right, pipe) };
  pipe.hide();
  cleanups.push(
    () => ends.outlet.destroy(),
    () => ends.inlet.destroy(),
  );
  return ends;
}

/** Takes up to `length` bytes, in pieces of at most `piece`. */
class Basket implements Sink {
  readonly bytes: Uint8Array;
  readonly full: Promise<void>;
  filled = 0;
  #done: () => void = () => {};

  constructor(
    length: number,
    readonly piece: number,
  ) {
    this.bytes = new Uint8Array(length);
    this.full = new Promise((resolve) => {
      this.#done = resolve;
    });
  }

  target(): Uint8Array | undefined {
    if (this.filled === this.bytes.length) return undefined;
    return this.bytes.subarray(this.filled, this.filled + this.piece);
  }

  landed(bytes: number): void {
    this.filled += bytes;
    if (this.filled === this.bytes.length) this.#done();
  }
}

function numbered(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i % 251);
}

describe.runIf(process.platform === 'linux')('a connection through shared memory', () => {
  it('carries many times what fits into it, in order, and frees what was written', async () => {
    const { outlet, inlet } = connected();
    const sent = numbered(20_000_003);
    const basket = new Basket(sent.length, 300_001);
    inlet.pull(basket);
    const random = Random.of('writes');
    let writes = 0;
    let flushes = 0;
    for (let first = 0; first < sent.length; ) {
      const end = first + 1 + random.below(5_000_000);
      outlet.write(sent.subarray(first, end), () => flushes++);
      writes++;
      first = end;
    }
    await basket.full;
    expect(Buffer.compare(basket.bytes, sent)).toBe(0);
    expect(flushes).toBe(writes);
  });

  it('frees at once what fits, so that bytes go on while others arrive', async () => {
    const { outlet, inlet } = connected();
    const sent = numbered(1000);
    const basket = new Basket(1000, 1000);
    let rounds = 0;
    const next = () => {
      if (rounds < 10) outlet.write(sent.subarray(100 * rounds, 100 * ++rounds), next);
    };
    next();
    expect(rounds).toBe(10);
    inlet.pull(basket);
    await basket.full;
    expect(Buffer.compare(basket.bytes, sent)).toBe(0);
  });

  it('keeps bytes that come before anybody wants them, and frees nothing that does not fit', async () => {
    const { outlet, inlet } = connected();
    const sent = numbered(5_000_000);
    let flushed = false;
    outlet.write(sent, () => {
      flushed = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(flushed).toBe(false);
    for (let first = 0; first < sent.length; first += 1_000_000) {
      const basket = new Basket(1_000_000, 65_536);
      inlet.pull(basket);
      await basket.full;
      expect(Buffer.compare(basket.bytes, sent.subarray(first, first + 1_000_000))).toBe(0);
    }
    expect(flushed).toBe(true);
  });

  it('brings what was left in it when the writer ended, and then closes', async () => {
    const { outlet, inlet } = connected();
    outlet.write(numbered(1000), () => {});
    outlet.end();
    await outlet.closed;
    const basket = new Basket(1000, 400);
    inlet.pull(basket);
    await basket.full;
    expect(await inlet.closed).toBeUndefined();
    expect(Buffer.compare(basket.bytes, numbered(1000))).toBe(0);
  });

  it('may be destroyed from within the sink, whose target is then left alone', async () => {
    const { outlet, inlet } = connected();
    const basket = new Basket(1000, 100);
    const landed = basket.landed.bind(basket);
    basket.landed = (bytes) => {
      landed(bytes);
      inlet.destroy();
    };
    inlet.pull(basket);
    outlet.write(numbered(1000), () => {});
    await outlet.closed;
    await inlet.closed;
    expect(basket.filled).toBe(100);
    outlet.write(numbered(1000), () => {
      throw new Error('nothing leaves a closed connection');
    });
    inlet.pull(basket);
  });
});
