import { Random, sleep, WeftError } from '@weft/common';
import { waitFor } from '@weft/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { DataPlane } from '../data-plane.js';
import { copyInto, type Duplex } from '../transport/duplex.js';
import { memoryDuplexPair } from '../transport/memory-duplex.js';
import { ExpertClient, ExpertClients } from './client.js';
import { encodeMessageHeader, type MessageHeader } from './codec.js';
import type {
  ExchangeShape,
  ExchangeSubject,
  ExpertExchange,
  ExpertHost,
  ExpertRows,
  HostRowsRequest,
} from './exchange.js';
import { inMemoryExchange } from './in-memory-exchange.js';
import { ExpertServer } from './server.js';

/** One suite over both transports: what holds in memory holds over TCP. */
interface Exchange {
  readonly ranks: readonly ExpertExchange[];
  readonly hosts: readonly ExpertHost[];
}

interface FormOptions {
  readonly worldSize?: number;
  readonly shape?: ExchangeShape;
  readonly answerTimeoutMs?: number;
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** 5 experts on 2 expert workers, capacity 2, rows of 3 values, 2 groups. */
const twoWorkers: ExchangeShape = {
  placement: [
    { first: 0, end: 3 },
    { first: 3, end: 5 },
  ],
  groups: 2,
  capacity: 2,
  width: 3,
  precision: 'fp32',
};
const LENGTH = 5 * 4 * 3;
const subject = (changes: Partial<ExchangeSubject> = {}): ExchangeSubject => ({
  direction: 'forward',
  step: 1,
  microbatch: 0,
  layer: 1,
  ...changes,
});

const transports: Record<string, (options: Required<FormOptions>) => Promise<Exchange>> = {
  memory: async (options) => inMemoryExchange(options),
  tcp: async ({ worldSize, shape, answerTimeoutMs }) => {
    const same = { runId: 'in-memory', generation: 1, worldSize, token: 'secret', shape, timeoutMs: 15_000 };
    const planes = await Promise.all(Array.from({ length: worldSize + shape.placement.length }, () => listen()));
    const [callers, called] = [planes.slice(0, worldSize), planes.slice(worldSize)];
    const addresses = called.map(({ address }) => address);
    const hosts = Promise.all(called.map((plane, expertWorker) => plane.hostExperts({ ...same, expertWorker })));
    const ranks = callers.map((plane, rank) => plane.callExperts({ ...same, rank, addresses, answerTimeoutMs }));
    return { ranks: await Promise.all(ranks), hosts: await hosts };
  },
};

async function listen(): Promise<DataPlane> {
  const plane = await DataPlane.listen();
  cleanups.push(() => plane.close());
  return plane;
}

/** Answers every row with its double, and norms with their step. */
async function serve(host: ExpertHost): Promise<void> {
  for await (const request of host.requests()) {
    if (request.kind === 'squaredNorm') request.answer(request.step);
    else if (request.kind === 'rows') {
      await request.answer(request.rows_ECD.map((value) => value * 2));
      request.release();
    }
  }
}

/** As `serve`, for a test that looks elsewhere for what went wrong. */
function serveQuietly(host: ExpertHost): void {
  serve(host).catch(() => {});
}

/** A call with `counts[e]` rows for each expert, half of them (rounded up) in the first group; garbage in the rest. */
function rows(counts: readonly number[], seed = 0): ExpertRows {
  const random = Random.of('rows', seed);
  const tokensPerExpert_EG = Int32Array.from(counts.flatMap((count) => [Math.ceil(count / 2), Math.floor(count / 2)]));
  const rows_ECD = Float32Array.from({ length: LENGTH }, () => random.uniform() + 0.25);
  return { tokensPerExpert_EG, rows_ECD, answer_ECD: new Float32Array(LENGTH).fill(7) };
}

/** What comes back from `serve`: the double of every row that travels. */
function doubled({ tokensPerExpert_EG, rows_ECD }: ExpertRows): Float32Array {
  return rows_ECD.map((value, i) => (Math.floor(i / 3) % 2 < tokensPerExpert_EG[Math.floor(i / 6)]! ? 2 * value : 0));
}

const failureOf = (call: Promise<unknown>): Promise<WeftError> =>
  call.then(
    () => {
      throw new Error('expected a failure');
    },
    (thrown: unknown) => thrown as WeftError,
  );

describe.each(Object.entries(transports))('an exchange over %s', (_, connect) => {
  async function form(options: FormOptions = {}): Promise<Exchange> {
    const formed = await connect({ worldSize: 2, shape: twoWorkers, answerTimeoutMs: 5_000, ...options });
    cleanups.push(() => Promise.all([...formed.ranks, ...formed.hosts].map((end) => end.close())));
    return formed;
  }

  it('brings every rank’s rows to their experts and the answers back in place', async () => {
    const { ranks, hosts } = await form({ worldSize: 3 });
    const serving = hosts.map(serve);
    await Promise.all(
      ranks.map(async (exchange, rank) => {
        const call = rows([4, 0, 2, 1, 4], rank);
        await exchange.exchange(subject({ layer: rank }), call);
        expect(call.answer_ECD).toEqual(doubled(call));
      }),
    );
    for (const host of hosts) await host.close();
    await Promise.all(serving);
  });

  it('rounds rows to bf16 on their way when asked to', async () => {
    const { ranks, hosts } = await form({ shape: { ...twoWorkers, precision: 'bf16' } });
    for (const host of hosts) serveQuietly(host);
    const call = rows([4, 4, 3, 2, 1]);
    await ranks[0]!.exchange(subject(), call);
    const exact = doubled(call);
    for (const [i, value] of call.answer_ECD.entries())
      expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(exact[i]! * 2 ** -8);
    expect(call.answer_ECD).not.toEqual(exact);
  });

  it('answers several calls in whatever order they are done', async () => {
    const { ranks, hosts } = await form({ worldSize: 1, shape: { ...twoWorkers, placement: [{ first: 0, end: 5 }] } });
    const done: number[] = [];
    const calls = [0, 1, 2].map(async (microbatch) => {
      const call = rows([1, 2, 3, 4, microbatch]);
      await ranks[0]!.exchange(subject({ microbatch }), call);
      done.push(microbatch);
      expect(call.answer_ECD[0]).toBe(microbatch + 1);
    });
    const requested: HostRowsRequest[] = [];
    for await (const request of hosts[0]!.requests()) {
      if (request.kind === 'rows') requested.push(request);
      if (requested.length === 3) break;
    }
    for (const request of requested.reverse()) await request.answer(request.rows_ECD.fill(request.microbatch + 1));
    await Promise.all(calls);
    expect(done).toEqual([2, 1, 0]);
  });

  it('returns the squared norm of every expert worker, in order', async () => {
    const { ranks, hosts } = await form();
    serveQuietly(hosts[0]!);
    void (async () => {
      for await (const request of hosts[1]!.requests()) if (request.kind === 'squaredNorm') request.answer(0.1);
    })();
    for (const exchange of ranks) expect(await exchange.squaredNorms(4)).toEqual([4, 0.1]);
  });

  it('sends only filled rows, and counts its bytes', async () => {
    const { ranks, hosts } = await form({ worldSize: 1 });
    for (const host of hosts) serveQuietly(host);
    await ranks[0]!.exchange(subject(), rows([1, 0, 0, 0, 2]));
    const bytes = 2 * 48 + 10 * 4 + 3 * 3 * 4;
    expect(ranks[0]!.stats).toEqual({ bytesSent: bytes, bytesReceived: bytes });
    const received = hosts.map(({ stats }) => stats.bytesReceived);
    expect(received[0]! + received[1]!).toBe(bytes);
  });

  it('leaves requests in the socket while too many are unanswered', async () => {
    const { ranks, hosts } = await form({ worldSize: 1, shape: { ...twoWorkers, placement: [{ first: 0, end: 5 }] } });
    const calls = Array.from({ length: 40 }, (_unused, microbatch) =>
      ranks[0]!.exchange(subject({ microbatch }), rows([1, 1, 1, 1, 1])),
    );
    const waiting: HostRowsRequest[] = [];
    const serving = (async () => {
      for await (const request of hosts[0]!.requests()) if (request.kind === 'rows') waiting.push(request);
    })();
    await waitFor('as many requests as are taken at a time', () => waiting.length >= 16);
    await sleep(20);
    expect(waiting).toHaveLength(16);
    for (let answered = 0; answered < 40; answered++) {
      while (waiting.length === 0) await sleep(1);
      const request = waiting.shift()!;
      await request.answer(request.rows_ECD);
      request.release();
    }
    await Promise.all(calls);
    await hosts[0]!.close();
    await serving;
  });

  it('names the expert worker that is gone, on every rank, at once and later', async () => {
    const { ranks, hosts } = await form();
    serveQuietly(hosts[0]!);
    const calls = ranks.map((exchange) => failureOf(exchange.exchange(subject(), rows([1, 1, 1, 1, 1]))));
    setTimeout(() => void hosts[1]!.close(), 10);
    for (const call of calls) {
      const failure = await call;
      expect(failure.code).toBe('unavailable');
      expect(failure.message).toContain('expert worker 1 of run in-memory, generation 1 is gone');
    }
    const later = await failureOf(ranks[0]!.squaredNorms(1));
    expect(later.message).toContain('expert worker 1 of run');
  });

  it('names the expert worker that is too slow, and the request', async () => {
    const { ranks, hosts } = await form({ answerTimeoutMs: 500 });
    serveQuietly(hosts[0]!);
    const late = subject({ direction: 'backward', step: 9, microbatch: 2, layer: 5 });
    const failure = await failureOf(ranks[0]!.exchange(late, rows([1, 1, 1, 1, 1])));
    expect(failure).toMatchObject({
      code: 'deadline_exceeded',
      message:
        'expert worker 1 of run in-memory, generation 1 did not answer the output gradients of step 9, microbatch 2, layer 5 within 0.5 s',
    });
  });

  it('tells every rank why an expert worker gave up', async () => {
    const { ranks, hosts } = await form();
    const calls = ranks.map((exchange) => failureOf(exchange.squaredNorms(1)));
    await hosts[1]!.fail(new WeftError('internal', 'no memory for a tensor', { hint: 'use more expert workers' }));
    // Perhaps by way of another rank and another expert worker.
    for (const call of calls)
      expect(await call).toMatchObject({
        code: 'internal',
        message: expect.stringContaining('expert worker 1 of run in-memory, generation 1: no memory for a tensor'),
        hint: 'use more expert workers',
      });
  });

  it('names the rank that is gone, on every expert worker', async () => {
    const { ranks, hosts } = await form();
    const serving = hosts.map((host) => failureOf(serve(host)));
    await ranks[1]!.close();
    for (const failure of await Promise.all(serving)) {
      expect(failure.code).toBe('unavailable');
      expect(failure.message).toContain('rank 1 of run in-memory, generation 1 is gone: the exchange with the experts');
    }
    const other = await failureOf(ranks[0]!.squaredNorms(1));
    expect(other.message).toContain('rank 1 of run in-memory, generation 1 is gone');
  });

  it('touches no array after a call has settled', async () => {
    const { ranks, hosts } = await form();
    serveQuietly(hosts[0]!);
    const call = rows([4, 4, 4, 4, 4]);
    const { answer_ECD: answer } = call;
    const failure = failureOf(ranks[0]!.exchange(subject(), call));
    await ranks[0]!.close();
    expect((await failure).code).toBe('cancelled');
    answer.fill(7);
    await sleep(20);
    expect(answer.every((value) => value === 7)).toBe(true);
    expect((await failureOf(ranks[0]!.squaredNorms(1))).code).toBe('cancelled');
  });

  it('refuses arrays of another length', async () => {
    const { ranks } = await form();
    const call = rows([1, 1, 1, 1, 1]);
    const short = { ...call, rows_ECD: new Float32Array(3) };
    const failure = await failureOf(ranks[0]!.exchange(subject(), short));
    expect(failure.message).toBe('the rows of all experts are 60 values, not 3');
  });
});

describe('an expert worker that receives invalid messages', () => {
  const whole: MessageHeader = {
    content: 'rows',
    isAnswer: false,
    direction: 'forward',
    precision: 'fp32',
    generation: 1,
    step: 1,
    microbatch: 0,
    layer: 1,
    firstExpert: 0,
    experts: 3,
    groups: 2,
    width: 3,
    payloadBytes: 24,
  };

  const receive = async (
    changes: Partial<MessageHeader>,
    payload: readonly number[] = [0, 0, 0, 0, 0, 0],
  ): Promise<WeftError> => {
    const [near, far] = memoryDuplexPair();
    const host = new ExpertServer({ runId: 'r', generation: 1, expertWorker: 0, shape: twoWorkers, duplexes: [far] });
    cleanups.push(() => host.close());
    near.write(encodeMessageHeader({ ...whole, ...changes }), () => {});
    near.write(new Uint8Array(Uint32Array.from(payload).buffer), () => {});
    return failureOf(serve(host));
  };

  it('names what is wrong: other experts, another generation, more rows than the capacity, sizes that do not fit', async () => {
    expect((await receive({ firstExpert: 1 })).message).toContain(
      'rows of experts 1 to 3 in 2 groups, 3 wide, where experts 0 to 2 in 2 groups, 3 wide are expected',
    );
    expect((await receive({ generation: 2 })).message).toBe(
      'rank 0: invalid message: a message of generation 2 in generation 1',
    );
    expect((await receive({}, [0, 5, 0, 0, 0, 0])).message).toBe(
      'rank 0: invalid message: 5 rows for an expert with capacity 2',
    );
    expect((await receive({ payloadBytes: 2 ** 50 })).message).toContain('where their counts say 0');
    expect((await receive({ precision: 'bf16' })).message).toBe(
      'rank 0: invalid message: rows in bf16 instead of fp32',
    );
    expect((await receive({ isAnswer: true })).message).toBe('rank 0: invalid message: an answer to an expert worker');
    expect((await receive({ content: 'fault', payloadBytes: 2 ** 30 })).message).toContain(
      'a fault of 1073741824 bytes',
    );
  });
});

it('a rank that receives an answer it did not request gives up', async () => {
  const [near, far]: readonly [Duplex, Duplex] = memoryDuplexPair();
  const failed = new Promise<WeftError>((onFailure) => {
    const rankId = { runId: 'r', generation: 1, rank: 0, worldSize: 1 };
    const shape = { ...twoWorkers, placement: [{ first: 0, end: 5 }] };
    new ExpertClient({ rankId, expertWorker: 0, shape, duplex: near, answerTimeoutMs: 1000, onFailure }).start();
  });
  const empty = { direction: 'forward', precision: 'fp32', generation: 1, microbatch: 0, layer: 0 } as const;
  const context = { step: 3, firstExpert: 0, experts: 5, groups: 2, width: 3, payloadBytes: 8 };
  far.write(encodeMessageHeader({ content: 'squaredNorm', isAnswer: true, ...empty, ...context }), () => {});
  far.write(new Uint8Array(8), () => {});
  expect((await failed).message).toContain('an answer to the gradient norm of step 3 that was not requested');
});

describe('an invalid message among bytes read before the exchange begins', () => {
  /** Both ends of a connection whose second end has read 48 bytes that begin no message. */
  function pairWithEarlyBytes(): readonly [Duplex, Duplex] {
    const [near, far] = memoryDuplexPair();
    const receive: Duplex['receive'] = (sink) => {
      copyInto(new Uint8Array(48), sink);
      far.receive(sink);
    };
    return [near, { ...far, receive }];
  }

  it('fails an expert worker, which closes that connection and gives the other rank the reason', async () => {
    const [near, far] = pairWithEarlyBytes();
    const [other, otherFar] = memoryDuplexPair();
    const rankId = { runId: 'r', generation: 1, rank: 1, worldSize: 2 };
    const shape = { ...twoWorkers, placement: [{ first: 0, end: 5 }] };
    const rank = new ExpertClients({ rankId, shape, duplexes: [other], answerTimeoutMs: 1000 });
    const duplexes = [far, otherFar];
    const host = new ExpertServer({ runId: 'r', generation: 1, expertWorker: 0, shape, duplexes });
    cleanups.push(
      () => host.close(),
      () => rank.close(),
    );
    const failure = await failureOf(serve(host));
    expect(failure.code).toBe('corrupt_data');
    expect(failure.message).toContain('rank 0: ');
    expect(await near.closed).toBeUndefined();
    expect((await failureOf(rank.squaredNorms(1))).message).toContain('bytes that begin no message');
  });

  it('fails a rank, which closes that connection and gives the other expert worker the reason', async () => {
    const [near, far] = pairWithEarlyBytes();
    const [other, otherFar] = memoryDuplexPair();
    const host = new ExpertServer({
      ...{ runId: 'r', generation: 1, expertWorker: 1, shape: twoWorkers },
      duplexes: [otherFar],
    });
    const rankId = { runId: 'r', generation: 1, rank: 0, worldSize: 1 };
    const rank = new ExpertClients({ rankId, shape: twoWorkers, duplexes: [far, other], answerTimeoutMs: 1000 });
    cleanups.push(
      () => host.close(),
      () => rank.close(),
    );
    const failure = await failureOf(rank.squaredNorms(1));
    expect(failure.code).toBe('corrupt_data');
    expect(failure.message).toContain('expert worker 0 of');
    expect((await failureOf(serve(host))).message).toContain('bytes that begin no message');
    near.receive({ target: () => new Uint8Array(1000), onBytes: () => {} });
    expect(await near.closed).toBeUndefined();
  });
});

describe('connecting an exchange', () => {
  const same = { runId: 'r', generation: 1, worldSize: 1, token: 'secret', shape: twoWorkers, timeoutMs: 1000 };

  it('names the expert workers that do not answer, and the ranks that do not call', async () => {
    const [rank, one, lonely] = [await listen(), await listen(), await listen()];
    const addresses = [one.address, '127.0.0.1:1'];
    const hosted = one.hostExperts({ ...same, expertWorker: 0 });
    const calling = failureOf(rank.callExperts({ ...same, rank: 0, addresses, answerTimeoutMs: 1 }));
    const hosting = failureOf(lonely.hostExperts({ ...same, worldSize: 3, expertWorker: 0 }));
    await hosted;
    expect((await calling).message).toMatch(
      /not there after 1000 ms: .*expert worker 1 did not answer at 127\.0\.0\.1:1/,
    );
    expect((await hosting).message).toMatch(/have not all called after 1000 ms: rank 0, rank 1, rank 2 did not/);
  });

  it('refuses a rank with another token, and one that means another expert worker', async () => {
    const [rank, one] = [await listen(), await listen()];
    const call = (changes: object) =>
      failureOf(rank.callExperts({ ...same, rank: 0, addresses: [one.address], answerTimeoutMs: 1, ...changes }));
    const hosting = failureOf(one.hostExperts({ ...same, expertWorker: 1, timeoutMs: 1500 }));
    expect((await call({ token: 'other' })).message).toContain('rank 0 does not know the token of expert worker 1');
    expect((await call({})).message).toContain('rank 0 called expert worker 0, but this is expert worker 1');
    expect((await call({ worldSize: 2 })).message).toContain('called expert worker 0');
    await hosting;
  });
});
