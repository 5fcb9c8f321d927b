import { constants, createServer as createHttp2Server } from 'node:http2';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { ERROR_CODES, parseAddress, WeftError } from '@weft/common';
import {
  CoordinatorMessage,
  ListResponse,
  RunSummary,
  RunsService,
  RunUpdate,
  WorkerMessage,
  WorkersService,
} from '@weft/proto';
import { freePort, isServing, waitFor } from '@weft/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { type Channel, channel } from './channel.js';
import type { MessageStream } from './message-stream.js';
import { type RpcServer, type ServeOptions, serve } from './serve.js';
import { type CallContext, type Handlers, service } from './service.js';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const notHere = () => {
  throw new WeftError('internal', 'this test does not ask for it');
};
const summary = (runId: string) =>
  RunSummary.fromPartial({ runId, recipe: 'debugTiny', createdAtMs: 1_795_412_345_678 });
const quiet: Handlers<typeof RunsService> = {
  launch: notHere,
  resume: notHere,
  stop: notHere,
  changeMixture: notHere,
  saveCheckpoint: notHere,
  get: ({ runId }) => summary(runId),
  list: notHere,
  watch: notHere,
  cluster: notHere,
  readLog: notHere,
  goodput: notHere,
  ranks: notHere,
  profile: notHere,
};

async function served(handlers: Partial<Handlers<typeof RunsService>> = {}, options: Partial<ServeOptions> = {}) {
  const server = await serve({ services: [service(RunsService, { ...quiet, ...handlers })], ...options });
  cleanUps.push(() => server.close(0));
  return { server, client: await open(server.address) };
}

async function open(address: string): Promise<Channel> {
  const client = await channel(address);
  cleanUps.push(() => client.close());
  return client;
}

async function attended(
  connect: (stream: MessageStream<WorkerMessage, CoordinatorMessage>, context: CallContext) => Promise<void>,
) {
  const server = await serve({ services: [service(WorkersService, { connect, sendHeartbeat: () => ({}) })] });
  cleanUps.push(() => server.close(0));
  return server;
}

/** A wire that a test can cut. */
async function wireTo(server: RpcServer): Promise<{ address: string; cut(): void }> {
  const sockets: Socket[] = [];
  const wire: Server = createServer((socket) => {
    const onward = connect(parseAddress(server.address));
    sockets.push(socket, onward);
    for (const end of [socket, onward]) end.on('error', () => {});
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  cleanUps.push(() => {
    cut();
    wire.close();
  });
  const { port } = wire.address() as { port: number };
  return { address: `127.0.0.1:${port}`, cut };
}

describe('a unary call', () => {
  it('gives the answer, large numbers whole', async () => {
    const { client } = await served();
    expect(await client.unary(RunsService.get, { runId: 'tiny-1' })).toEqual(summary('tiny-1'));
  });

  it('tells the handler who asks', async () => {
    const seen: CallContext[] = [];
    const { client } = await served({
      get: ({ runId }, context) => {
        seen.push(context);
        return summary(runId);
      },
    });
    await client.unary(RunsService.get, { runId: 'x' });
    expect(seen[0]?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(seen[0]?.peerName).toBeUndefined();
  });

  it.each(ERROR_CODES)('brings the error %s across whole', async (code) => {
    const thrown = new WeftError(code, 'läuft nicht: 100 % of “it” is gone\n(second line) \ud83e', {
      hint: 'try ünïcode 🧵',
    });
    const { client } = await served({ get: () => Promise.reject(thrown) });
    const error = await client.unary(RunsService.get, { runId: 'x' }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(WeftError);
    expect(error).toMatchObject({ code, message: thrown.message, hint: thrown.hint });
  });

  it('brings an error without a hint across without one, and any other error as internal', async () => {
    const { client } = await served({
      get: () => {
        throw new TypeError('x is undefined');
      },
      list: () => Promise.reject(new WeftError('not_found', 'no runs')),
    });
    await expect(client.unary(RunsService.get, { runId: 'x' })).rejects.toMatchObject({
      code: 'internal',
      message: 'x is undefined',
    });
    const error = await client.unary(RunsService.list, {}).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'not_found', message: 'no runs', hint: undefined });
  });

  it('shortens an error that would not fit into the trailers', async () => {
    const { client } = await served({ get: () => Promise.reject(new WeftError('corrupt_data', 'ü'.repeat(100_000))) });
    const error = await client.unary(RunsService.get, { runId: 'x' }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'corrupt_data', message: `${'ü'.repeat(1500)}…` });
  });

  it('ends at its deadline, and the handler learns it', async () => {
    let aborted = false;
    const { client } = await served({
      get: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true;
            reject(new Error('too late'));
          });
        }),
    });
    const call = client.unary(RunsService.get, { runId: 'x' }, { deadlineMs: 400 });
    await expect(call).rejects.toMatchObject({
      code: 'deadline_exceeded',
      message: `${client.address} did not answer Get within 400 ms`,
    });
    await waitFor('the handler', () => aborted);
  });

  it('can be cancelled, before and during', async () => {
    const { client } = await served({ get: () => new Promise(() => {}) });
    const controller = new AbortController();
    const call = client.unary(RunsService.get, { runId: 'x' }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await expect(call).rejects.toMatchObject({ code: 'cancelled' });
    const late = client.unary(RunsService.get, { runId: 'x' }, { signal: controller.signal });
    await expect(late).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('says where nobody answers, and what to check', async () => {
    const port = await freePort();
    const client = await open(`127.0.0.1:${port}`);
    await expect(client.unary(RunsService.list, {})).rejects.toMatchObject({
      code: 'unavailable',
      message: `no connection to 127.0.0.1:${port} (connect ECONNREFUSED 127.0.0.1:${port})`,
      hint: 'check the address, that the process there runs, and that both sides use TLS or neither does',
    });
  });

  it('takes a stream that was reset below gRPC for a broken connection, not for a bug', async () => {
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => server.close());
    const client = await open(`127.0.0.1:${(server.address() as { port: number }).port}`);
    await expect(client.unary(RunsService.list, {})).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/^the connection to .* broke \(.*RST_STREAM/),
    });
  });

  it('says that a service of another version is missing', async () => {
    const server = await attended(async () => {});
    const client = await open(server.address);
    await expect(client.unary(RunsService.list, {})).rejects.toMatchObject({
      code: 'version_mismatch',
      message: `${server.address} does not know /weft.v1.Runs/List`,
    });
  });

  it('refuses a message above the cap, either way', async () => {
    const runs = [RunSummary.fromPartial({ reason: 'x'.repeat(5 * 1024 * 1024) })];
    const { client } = await served({ list: () => ListResponse.fromPartial({ runs }) });
    await expect(client.unary(RunsService.list, {})).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/^a message of List is too large/),
    });
    const call = client.unary(RunsService.get, { runId: 'x'.repeat(5 * 1024 * 1024) });
    await expect(call).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  it('refuses a malformed address at once', async () => {
    await expect(channel('nowhere')).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('repeating', () => {
  it('an idempotent call outlives a server that comes up late', async () => {
    const port = await freePort();
    const client = await open(`127.0.0.1:${port}`);
    const call = client.unary(RunsService.get, { runId: 'x' }, { idempotent: true });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const server = await serve({ services: [service(RunsService, quiet)], port });
    cleanUps.push(() => server.close(0));
    expect((await call).runId).toBe('x');
  });

  it('any other call is sent once, and an error of the server is never asked for again', async () => {
    let calls = 0;
    const count = () => {
      calls++;
      return Promise.reject(new WeftError('not_found', 'gone'));
    };
    const { client } = await served({
      get: count,
      launch: () => Promise.reject(new WeftError('unavailable', 'busy', {})),
    });
    await expect(client.unary(RunsService.get, { runId: 'x' }, { idempotent: true })).rejects.toThrow('gone');
    expect(calls).toBe(1);
    const launch = client.unary(RunsService.launch, { configJson: '{}', clientVersion: '' });
    await expect(launch).rejects.toMatchObject({ code: 'unavailable', message: 'busy' });
  });
});

describe('a server stream', () => {
  const update = (step: number) =>
    RunUpdate.fromPartial({ body: { $case: 'metricsJson', metricsJson: `{"step":${step}}` } });
  const request = { runId: 'x', afterStep: undefined };

  it('delivers everything in order and ends', async () => {
    const { client } = await served({
      async *watch() {
        for (let step = 0; step < 1000; step++) yield update(step);
      },
    });
    const seen: RunUpdate[] = [];
    for await (const one of client.serverStream(RunsService.watch, request)) seen.push(one);
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, step) => update(step)));
  });

  it('delivers what came before an error, then the error', async () => {
    const { client } = await served({
      async *watch() {
        yield update(1);
        throw new WeftError('not_found', 'the run x is gone', { hint: 'list the runs' });
      },
    });
    const seen: RunUpdate[] = [];
    const watching = async () => {
      for await (const one of client.serverStream(RunsService.watch, request)) seen.push(one);
    };
    await expect(watching()).rejects.toMatchObject({
      code: 'not_found',
      message: 'the run x is gone',
      hint: 'list the runs',
    });
    expect(seen).toEqual([update(1)]);
  });

  it('when the caller leaves, the handler learns it', async () => {
    let left = false;
    const { client } = await served({
      async *watch(_, { signal }) {
        yield update(1);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        left = true;
      },
    });
    for await (const _ of client.serverStream(RunsService.watch, request)) break;
    await waitFor('the handler', () => left);
  });

  it('ends as unavailable when the server shuts down', async () => {
    const { client, server } = await served({
      async *watch(_, { signal }) {
        yield update(1);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    });
    const watching = async () => {
      for await (const _ of client.serverStream(RunsService.watch, request)) void server.close();
    };
    await expect(watching()).rejects.toMatchObject({ code: 'unavailable', message: 'the server is shutting down' });
  });
});

describe('a bidirectional stream', () => {
  const hello = WorkerMessage.fromPartial({ body: { $case: 'hello', hello: { workerId: 'w' } } });

  it("closes when its handler is done, with the handler's error where it has one", async () => {
    const server = await attended(async (stream) => {
      for await (const _ of stream.messages) throw new WeftError('version_mismatch', 'too old', { hint: 'update' });
    });
    const stream = (await open(server.address)).bidi(WorkersService.connect);
    stream.send(hello);
    expect(await stream.closed).toMatchObject({ code: 'version_mismatch', message: 'too old', hint: 'update' });
  });

  it('nobody there shows as unavailable', async () => {
    const stream = (await open(`127.0.0.1:${await freePort()}`)).bidi(WorkersService.connect);
    stream.send(hello);
    expect(await stream.closed).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('no connection to'),
    });
  });

  it('a cut wire shows at both ends as unavailable', async () => {
    let reason: WeftError | undefined;
    const server = await attended(async (stream, { signal }) => {
      stream.send(CoordinatorMessage.fromPartial({ body: { $case: 'welcome', welcome: {} } }));
      reason = await stream.closed;
      expect(signal.aborted).toBe(true);
    });
    const wire = await wireTo(server);
    const stream = (await open(wire.address)).bidi(WorkersService.connect);
    for await (const _ of stream.messages) break;
    wire.cut();
    expect(await stream.closed).toMatchObject({ code: 'unavailable' });
    expect(await waitFor('the server', () => reason)).toMatchObject({ code: 'unavailable' });
  });

  it('can be cancelled from outside', async () => {
    const server = await attended((stream) => stream.closed.then(() => {}));
    const controller = new AbortController();
    const stream = (await open(server.address)).bidi(WorkersService.connect, { signal: controller.signal });
    controller.abort();
    expect(await stream.closed).toMatchObject({ code: 'cancelled' });
    const late = (await open(server.address)).bidi(WorkersService.connect, { signal: controller.signal });
    expect(await late.closed).toMatchObject({ code: 'cancelled' });
  });

  it('refuses a message above the cap and says so', async () => {
    const server = await attended((stream) => stream.closed.then(() => {}));
    const stream = (await open(server.address)).bidi(WorkersService.connect);
    stream.send(WorkerMessage.fromPartial({ body: { $case: 'hello', hello: { workerId: 'x'.repeat(5_000_000) } } }));
    expect(await stream.closed).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('too large'),
    });
  });
});

describe('a server', () => {
  it('listens on the loopback interface only by default', async () => {
    const { server } = await served();
    expect(server.address).toBe(`127.0.0.1:${server.port}`);
  });

  it('says when its port is taken', async () => {
    const { server } = await served();
    const second = serve({ services: [], port: server.port, name: 'the coordinator' });
    await expect(second).rejects.toMatchObject({
      code: 'port_in_use',
      message: `the coordinator cannot listen on ${server.address}, the port is taken`,
      hint: 'stop the process that listens there, or choose another port with --port',
    });
  });

  it('says when the host is not of this machine', async () => {
    await expect(serve({ services: [], host: '192.0.2.1' })).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  it('answers the standard health check', async () => {
    const { client, server } = await served();
    expect(await isServing(client)).toBe(true);
    server.setServing(false);
    expect(await isServing(client)).toBe(false);
  });

  it('shuts down gracefully: calls under way finish, new calls are refused', async () => {
    let answer: (() => void) | undefined;
    const { client, server } = await served({
      get: async ({ runId }) => {
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        return summary(runId);
      },
    });
    const call = client.unary(RunsService.get, { runId: 'slow' });
    const finish = await waitFor('the call', () => answer);
    const closed = server.close();
    expect(server.close()).toBe(closed);
    await expect(client.unary(RunsService.list, {})).rejects.toMatchObject({ code: 'unavailable' });
    finish();
    expect((await call).runId).toBe('slow');
    await closed;
  });

  it('drops what does not finish in time', async () => {
    const { client, server } = await served({ get: () => new Promise(() => {}) });
    const call = client.unary(RunsService.get, { runId: 'never' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.all([server.close(50), expect(call).rejects.toMatchObject({ code: 'unavailable' })]);
  });

  it('ends the streams of connected workers with the reason when it shuts down', async () => {
    const server = await attended((stream) => stream.closed.then(() => {}));
    const stream = (await open(server.address)).bidi(WorkersService.connect);
    stream.send(WorkerMessage.fromPartial({ body: { $case: 'heartbeat', heartbeat: {} } }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close();
    expect(await stream.closed).toMatchObject({ code: 'unavailable', message: 'the server is shutting down' });
  });

  it('survives bytes that are no gRPC', async () => {
    const { client, server } = await served();
    const socket = connect(parseAddress(server.address));
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.destroy();
    const list = { ...RunsService.get, requestSerialize: () => Buffer.from([0xff, 0xff, 0xff]) };
    await expect(client.unary(list, { runId: '' })).rejects.toMatchObject({ code: 'internal' });
    expect((await client.unary(RunsService.get, { runId: 'still here' })).runId).toBe('still here');
  });
});
