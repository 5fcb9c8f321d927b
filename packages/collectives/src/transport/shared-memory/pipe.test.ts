import { Random, sleep } from '@weft/common';
import { afterEach, describe, expect, it } from 'vitest';
import { memoryDuplexPair } from '../memory-duplex.js';
import { CollectingSink } from '../testing/collecting-sink.js';
import { SharedPipe, SharedReceiver, SharedSender } from './pipe.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function connected() {
  const [left, right] = memoryDuplexPair();
  const pipe = SharedPipe.create()!;
  const ends = {
    sender: new SharedSender(left, SharedPipe.open(pipe.name)!),
    receiver: new SharedReceiver(right, pipe),
  };
  pipe.hide();
  cleanups.push(
    () => ends.sender.destroy(),
    () => ends.receiver.destroy(),
  );
  return ends;
}

function numbered(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i % 251);
}

describe.runIf(process.platform === 'linux')('a connection through shared memory', () => {
  it('carries many times what fits into it, in order, and frees what was written', async () => {
    const { sender, receiver } = connected();
    const sent = numbered(20_000_003);
    const sink = new CollectingSink(sent.length, 300_001);
    receiver.receive(sink);
    const random = Random.of('writes');
    let writes = 0;
    let flushes = 0;
    for (let first = 0; first < sent.length; ) {
      const end = first + 1 + random.below(5_000_000);
      sender.write(sent.subarray(first, end), () => flushes++);
      writes++;
      first = end;
    }
    await sink.full;
    expect(Buffer.compare(sink.bytes, sent)).toBe(0);
    expect(flushes).toBe(writes);
  });

  it('frees at once what fits, so that bytes go on while others arrive', async () => {
    const { sender, receiver } = connected();
    const sent = numbered(1000);
    const sink = new CollectingSink(1000, 1000);
    let rounds = 0;
    const next = () => {
      if (rounds < 10) sender.write(sent.subarray(100 * rounds, 100 * ++rounds), next);
    };
    next();
    expect(rounds).toBe(10);
    receiver.receive(sink);
    await sink.full;
    expect(Buffer.compare(sink.bytes, sent)).toBe(0);
  });

  it('keeps bytes that arrive before a sink wants them, and frees nothing that does not fit', async () => {
    const { sender, receiver } = connected();
    const sent = numbered(5_000_000);
    let flushed = false;
    sender.write(sent, () => {
      flushed = true;
    });
    await sleep(20);
    expect(flushed).toBe(false);
    for (let first = 0; first < sent.length; first += 1_000_000) {
      const sink = new CollectingSink(1_000_000, 65_536);
      receiver.receive(sink);
      await sink.full;
      expect(Buffer.compare(sink.bytes, sent.subarray(first, first + 1_000_000))).toBe(0);
    }
    expect(flushed).toBe(true);
  });

  it('brings what was left in it when the writer ended, and then closes', async () => {
    const { sender, receiver } = connected();
    sender.write(numbered(1000), () => {});
    sender.end();
    await sender.closed;
    const sink = new CollectingSink(1000, 400);
    receiver.receive(sink);
    await sink.full;
    expect(await receiver.closed).toBeUndefined();
    expect(Buffer.compare(sink.bytes, numbered(1000))).toBe(0);
  });

  it('may be destroyed from within the sink, whose target is then left alone', async () => {
    const { sender, receiver } = connected();
    const sink = new CollectingSink(1000, 100);
    const onBytes = sink.onBytes.bind(sink);
    sink.onBytes = (count) => {
      onBytes(count);
      receiver.destroy();
    };
    receiver.receive(sink);
    sender.write(numbered(1000), () => {});
    await sender.closed;
    await receiver.closed;
    expect(sink.filled).toBe(100);
    sender.write(numbered(1000), () => {
      throw new Error('nothing leaves a closed connection');
    });
    receiver.receive(sink);
  });
});
