import { WeftError } from '@weft/common';
import { CoordinatorMessage, WorkerMessage, WorkersService } from '@weft/proto';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { channel } from './channel.js';
import type { MessageStream } from './message-stream.js';
import { type PairedStreams, pairedStreams } from './paired-streams.js';
import { serve } from './serve.js';
import { service } from './service.js';

type Pair = PairedStreams<WorkerMessage, CoordinatorMessage>;

const fromWorker = (workerId: string) =>
  WorkerMessage.fromPartial({ body: { $case: 'hello', hello: { workerId, hostName: 'here', processId: 7 } } });
const fromCoordinator = (runId: string) =>
  CoordinatorMessage.fromPartial({ body: { $case: 'stopRun', stopRun: { runId, reason: 'asked' } } });

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Both ends of a real call over the loopback interface. */
async function calledStreams(): Promise<Pair> {
  let accept: (stream: Pair['server']) => void = () => {};
  const accepted = new Promise<Pair['server']>((resolve) => {
    accept = resolve;
  });
  const connect = async (stream: Pair['server']) => {
    accept(stream);
    await stream.closed;
  };
  const server = await serve({ services: [service(WorkersService, { connect, sendHeartbeat: () => ({}) })] });
  cleanUps.push(() => server.close(0));
  const connection = await channel(server.address);
  cleanUps.push(() => connection.close());
  const client = connection.bidi(WorkersService.connect);
  return { client, server: await accepted };
}

async function everything<T>(stream: MessageStream<T, never>): Promise<{ messages: T[]; error?: unknown }> {
  const messages: T[] = [];
  try {
    for await (const message of stream.messages) messages.push(message);
    return { messages };
  } catch (error) {
    return { messages, error };
  }
}

async function next<T>(stream: MessageStream<T, never>): Promise<T> {
  for await (const message of stream.messages) return message;
  throw new Error('the stream ended');
}

describe.each([
  ['in memory', async (): Promise<Pair> => pairedStreams()],
  ['over gRPC', calledStreams],
])('a message stream %s', (_, open) => {
  it('carries messages both ways, whole, once and in order', async () => {
    const { client, server } = await open();
    const sent = Array.from({ length: 500 }, (_, i) => i);
    for (const i of sent) {
      client.send(fromWorker(`w${i}`));
      server.send(fromCoordinator(`r${i}`));
    }
    client.close();
    const [atServer, atClient] = await Promise.all([everything(server), everything(client)]);
    expect(atServer).toEqual({ messages: sent.map((i) => fromWorker(`w${i}`)) });
    expect(atClient).toEqual({ messages: [] });
    expect(await client.closed).toBeUndefined();
  });

  it('answers: what one end sends, the other can reply to', async () => {
    const { client, server } = await open();
    for (let i = 0; i < 20; i++) {
      client.send(fromWorker(`w${i}`));
      const { body } = await next(server);
      server.send(fromCoordinator(body?.$case === 'hello' ? body.hello.workerId : 'nobody'));
      expect(await next(client)).toEqual(fromCoordinator(`w${i}`));
    }
    client.close();
    await server.closed;
  });

  it('sends a copy: changing a message afterwards changes nothing', async () => {
    const { client, server } = await open();
    const message = fromWorker('before');
    client.send(message);
    if (message.body?.$case === 'hello') message.body.hello.workerId = 'after';
    expect(await next(server)).toEqual(fromWorker('before'));
    client.close();
  });

  it('a clean close by the client ends both directions, after what it had sent', async () => {
    const { client, server } = await open();
    client.send(fromWorker('last words'));
    client.close();
    expect(await everything(server)).toEqual({ messages: [fromWorker('last words')] });
    expect(await everything(client)).toEqual({ messages: [] });
    expect(await Promise.all([client.closed, server.closed])).toEqual([undefined, undefined]);
  });

  it('a clean close by the server ends both directions, after what it had sent', async () => {
    const { client, server } = await open();
    server.send(fromCoordinator('last words'));
    server.close();
    expect(await everything(client)).toEqual({ messages: [fromCoordinator('last words')] });
    expect(await everything(server)).toEqual({ messages: [] });
    expect(await Promise.all([client.closed, server.closed])).toEqual([undefined, undefined]);
  });

  it("a server's error reaches the client whole, after what the server had sent", async () => {
    const { client, server } = await open();
    const error = new WeftError('version_mismatch', 'worker is 0.0.9 – coordinator 0.1.0 (100 % sure)', {
      hint: 'instálese la misma versión',
    });
    server.send(fromCoordinator('first'));
    server.close(error);
    const atClient = await everything(client);
    expect(atClient.messages).toEqual([fromCoordinator('first')]);
    const { code, message, hint } = error;
    expect(atClient.error).toBeInstanceOf(WeftError);
    expect(atClient.error).toMatchObject({ code, message, hint });
    expect(await client.closed).toBe(atClient.error);
    expect(await server.closed).toBe(error);
    expect((await everything(server)).error).toBe(error);
  });

  it("a client's error is its own; the server learns that the client left", async () => {
    const { client, server } = await open();
    client.send(fromWorker('hello'));
    await next(server);
    const error = new WeftError('internal', 'the worker stumbled');
    client.close(error);
    expect((await everything(server)).error).toMatchObject({ code: 'unavailable', message: /without closing/ });
    expect(await server.closed).toMatchObject({ code: 'unavailable' });
    expect(await client.closed).toBe(error);
  });

  it('after the end, sending is dropped and closing again does nothing', async () => {
    const { client, server } = await open();
    client.close();
    client.close(new WeftError('internal', 'too late'));
    client.send(fromWorker('too late'));
    expect(await everything(server)).toEqual({ messages: [] });
    server.send(fromCoordinator('too late'));
    server.close(new WeftError('internal', 'too late'));
    expect(await Promise.all([client.closed, server.closed])).toEqual([undefined, undefined]);
  });

  it('both ends may close at once', async () => {
    const { client, server } = await open();
    client.close();
    server.close();
    expect(await Promise.all([client.closed, server.closed])).toEqual([undefined, undefined]);
  });

  it('whoever closes, and whenever the other end looks: what was sent before arrives', async () => {
    const sends = fc.array(fc.constantFrom('send', 'pause'), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(sends, fc.boolean(), fc.boolean(), async (actions, byClient, lookLate) => {
        const { client, server } = await open();
        const reader = byClient ? server : client;
        const early = lookLate ? undefined : everything<WorkerMessage | CoordinatorMessage>(reader);
        let count = 0;
        for (const action of actions) {
          if (action === 'pause') await new Promise((resolve) => setImmediate(resolve));
          else if (byClient) client.send(fromWorker(`${count++}`));
          else server.send(fromCoordinator(`${count++}`));
        }
        (byClient ? client : server).close();
        if (lookLate) await reader.closed;
        const { messages, error } = await (early ?? everything<WorkerMessage | CoordinatorMessage>(reader));
        expect(error).toBeUndefined();
        const one = (i: number) => (byClient ? fromWorker(`${i}`) : fromCoordinator(`${i}`));
        expect(messages).toEqual(Array.from({ length: count }, (_, i) => one(i)));
      }),
      { numRuns: 25 },
    );
  });
});
