import { connect, type Socket } from 'node:net';
import { type ByteSink, copyInto, type Duplex } from './duplex.js';

/** Receives bytes for which no target is known before the read; they are copied once more. */
const SCRATCH_BYTES = 4096;
const KEEP_ALIVE_DELAY_MS = 15_000;

/** Of a TCP socket, or the path of a local one. */
type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * A connection over a TCP or local socket. On the connecting side, Node reads from the kernel straight into the sink's
 * target. It offers no such thing on the accepting side, where bytes are copied once. This is why each rank connects to
 * the rank it receives from.
 */
export class SocketDuplex implements Duplex {
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Socket;
  #sink: ByteSink | undefined;
  /** Bytes read before any sink wanted them. */
  #early: Uint8Array = new Uint8Array(0);

  /** The connecting side. Returns at once; a failure to connect resolves `closed`. */
  static connect(address: SocketAddress): SocketDuplex {
    const scratch = new Uint8Array(SCRATCH_BYTES);
    let target: Uint8Array = scratch;
    const onRead = (count: number): boolean => {
      if (target === scratch) duplex.#deliver(scratch.subarray(0, count));
      else duplex.#sink?.onBytes(count);
      const next = duplex.#early.length > 0 ? undefined : duplex.#sink?.target();
      target = next ?? scratch;
      return next !== undefined;
    };
    const socket = connect({
      ...('path' in address ? { path: address.path } : { host: address.host, port: address.port }),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      onread: { buffer: () => target, callback: onRead },
    });
    const duplex: SocketDuplex = new SocketDuplex(socket);
    return duplex;
  }

  /** The connecting side over a local socket, once it is connected; `undefined` when no process listens at the path. */
  static connectLocally(path: string): Promise<SocketDuplex | undefined> {
    const duplex = SocketDuplex.connect({ path });
    return new Promise((resolve) => {
      duplex.#socket.once('connect', () => resolve(duplex));
      void duplex.closed.then(() => resolve(undefined));
    });
  }

  /** The accepting side. */
  static accepted(socket: Socket): SocketDuplex {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    const duplex = new SocketDuplex(socket);
    socket.on('data', (bytes: Uint8Array) => {
      duplex.#deliver(bytes);
      if (duplex.#early.length > 0) socket.pause();
    });
    return duplex;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    let cause: Error | undefined;
    this.closed = new Promise((resolve) => {
      socket.on('error', (error) => {
        cause = error;
      });
      socket.once('end', () => resolve(undefined));
      socket.once('close', () => resolve(cause));
    });
  }

  receive(sink: ByteSink): void {
    this.#sink = sink;
    this.#deliver(this.#early);
    if (this.#early.length === 0) this.#socket.resume();
  }

  write(bytes: Uint8Array, flushed: () => void): void {
    // A failed write resolves `closed`.
    this.#socket.write(bytes, (error) => {
      if (!error) flushed();
    });
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#sink = undefined;
    this.#socket.destroy();
  }

  #deliver(bytes: Uint8Array): void {
    this.#early = this.#sink === undefined ? bytes : copyInto(bytes, this.#sink);
  }
}
