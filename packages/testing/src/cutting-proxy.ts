import { connect, createServer, type Socket } from 'node:net';

/** A bad network between a client and a server of the loopback interface. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number;
  /** Breaks all connections at once. */
  cut(): void;
  /** Lets the next request through, and breaks its connection instead of giving the answer. */
  cutAnswer(): void;
  /** Breaks all connections and takes no new ones until `mend`. */
  sever(): void;
  /** Lets so many requests more through, gives no answer to the last of them, and severs. */
  severAfter(requests: number): void;
  mend(): void;
  close(): Promise<void>;
}

/** Passes everything on to `port` until a method cuts or stops it. */
export async function cuttingProxy(port: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let severed = false;
  let answersToCut = 0;
  let requestsLeft = Number.POSITIVE_INFINITY;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const sever = () => {
    severed = true;
    cut();
  };
  const server = createServer((client) => {
    if (severed) {
      client.destroy();
      return;
    }
    const upstream = connect(port, '127.0.0.1');
    let armed = false;
    client.on('data', (data) => {
      armed ||= (answersToCut > 0 && answersToCut-- > 0) || --requestsLeft === 0;
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (requestsLeft <= 0) sever();
      else if (armed) client.destroy();
      else client.write(data);
    });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  const ownPort = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      cut();
    });
  return {
    ...{ port: ownPort, cut, close, [Symbol.asyncDispose]: close },
    cutAnswer: () => {
      answersToCut++;
    },
    sever,
    severAfter: (requests) => {
      requestsLeft = requests;
    },
    mend: () => {
      severed = false;
      requestsLeft = Number.POSITIVE_INFINITY;
    },
  };
}
