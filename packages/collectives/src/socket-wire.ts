import { connect, type Socket } from 'node:net';
import type { Sink, Wire } from './link.js';
import { pour } from './link.js';

/** Bytes that land here are copied once more; it only serves where the next target is not known before the read. */
const SCRATCH_BYTES = 4096;
const KEEP_ALIVE_DELAY_MS = 15_000;

/** Of a TCP socket, or the path of a local one. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * A socket as a wire. On the connecting side bytes are read from the kernel straight to the sink's target; the
 * accepting side, which Node gives no such means, copies them once. That is why ranks connect to the rank they
 * receive from.
 */
export class SocketWire implements Wire {
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Socket;
  #sink: Sink | undefined;
  /** Bytes that were read before anybody wanted them. */
  #early: Uint8Array = new Uint8Array(0);

  /** The connecting side. Failures to connect show in `closed`. */
  static connect(address: SocketAddress): SocketWire {
    const scratch = new Uint8Array(SCRATCH_BYTES);
    let armed: Uint8Array = scratch;
    const landed = (bytes: number): boolean => {
      if (armed === scratch) wire.#arrived(scratch.subarray(0, bytes));
      else wire.#sink?.landed(bytes);
      const next = wire.#early.length > 0 ? undefined : wire.#sink?.target();
      armed = next ?? scratch;
      return next !== undefined;
    };
    const socket = connect({
      ...('path' in address ? { path: address.path } : { host: address.host, port: address.port }),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      onread: { buffer: () => armed, callback: landed },
    });
    const wire: SocketWire = new SocketWire(socket);
    return wire;
  }

  /** The connecting side, once it is connected; undefined when nobody listens at the path. */
  static connectLocally(path: string): Promise<SocketWire | undefined> {
    const wire = SocketWire.connect({ path });
    return new Promise((resolve) => {
      wire.#socket.once('connect', () => resolve(wire));
      void wire.closed.then(() => resolve(undefined));
    });
  }

  /** The accepting side. */
  static accepted(socket: Socket): SocketWire {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    const wire = new SocketWire(socket);
    socket.on('data', (bytes: Uint8Array) => {
      wire.#arrived(bytes);
      if (wire.#early.length > 0) socket.pause();
    });
    return wire;
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

  pull(sink: Sink): void {
    this.#sink = sink;
    this.#arrived(this.#early);
    if (this.#early.length === 0) this.#socket.resume();
  }

  write(bytes: Uint8Array, flushed: () => void): void {
    // A failed write shows in `closed`.
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

  #arrived(bytes: Uint8Array): void {
    this.#early = this.#sink === undefined ? bytes : pour(bytes, this.#sink);
  }
}
