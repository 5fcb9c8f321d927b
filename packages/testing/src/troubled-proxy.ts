import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';

/** What can happen to a request on its way. */
export type Trouble = 'fine' | 'slowDown' | 'error' | 'reset' | 'cut' | 'slow';

export interface TroubledProxyOptions {
  /** The server behind it, on the loopback interface. */
  readonly port: number;
  /** What happens to the n-th request, from 0. */
  readonly trouble: (n: number, request: IncomingMessage) => Trouble;
}

/** A bad way to a web server: errors, throttling, broken and slow connections, as a function of the number of the request. */
export interface TroubledProxy extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** How many requests met what. */
  readonly counts: Readonly<Record<Trouble, number>>;
  /** Bytes of the answers it has passed on. */
  readonly passedBytes: number;
}

const SLOW_DOWN =
  '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>';
/** A slow connection sends an answer in so many parts, one a tick of the timer. */
const SLOW_PARTS = 8;

export async function troubledProxy({ port, trouble }: TroubledProxyOptions): Promise<TroubledProxy> {
  const counts: Record<Trouble, number> = { fine: 0, slowDown: 0, error: 0, reset: 0, cut: 0, slow: 0 };
  let requests = 0;
  let passedBytes = 0;
  const server = createServer((incoming, outgoing) => {
    const what = trouble(requests++, incoming);
    counts[what]++;
    if (what === 'reset') incoming.socket.destroy();
    else if (what === 'slowDown') outgoing.writeHead(503, { 'Retry-After': '0' }).end(SLOW_DOWN);
    else if (what === 'error') outgoing.writeHead(500).end();
    else
      passOn(incoming, outgoing, port, what, (bytes) => {
        passedBytes += bytes;
      });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const ownPort = typeof address === 'object' && address !== null ? address.port : 0;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    ...{ port: ownPort, url: `http://127.0.0.1:${ownPort}`, counts, [Symbol.asyncDispose]: close },
    get passedBytes() {
      return passedBytes;
    },
  };
}

function passOn(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  port: number,
  what: Trouble,
  onBytes: (bytes: number) => void,
): void {
  const { method, url, headers } = incoming;
  const upstream = request({ host: '127.0.0.1', port, method, path: url, headers, agent: false }, (answer) => {
    const parts: Buffer[] = [];
    answer.on('data', (part: Buffer) => parts.push(part));
    answer.on('error', () => outgoing.destroy());
    answer.on('end', () => {
      const body = Buffer.concat(parts);
      onBytes(body.length);
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      if (what === 'slow') slowly(outgoing, body);
      else if (what === 'cut' && body.length > 1)
        outgoing.write(body.subarray(0, body.length >> 1), () => outgoing.destroy());
      else outgoing.end(body);
    });
  });
  upstream.on('error', () => outgoing.destroy());
  incoming.pipe(upstream);
}

function slowly(outgoing: ServerResponse, body: Buffer): void {
  const partBytes = Math.max(1, Math.ceil(body.length / SLOW_PARTS));
  let sent = 0;
  const timer = setInterval(() => {
    outgoing.write(body.subarray(sent, sent + partBytes));
    sent += partBytes;
    if (sent < body.length) return;
    clearInterval(timer);
    outgoing.end();
  }, 5);
  outgoing.once('close', () => clearInterval(timer));
}
