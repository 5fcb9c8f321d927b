import { Server } from '@grpc/grpc-js';
import { formatAddress, listenError } from '@weft/common';
import type { Service } from './service.js';
import { serverCredentials, type TlsFiles } from './tls.js';
import { quietUnlessAsked, serverOptions } from './transport-options.js';

/** Options of `serve`. */
export interface ServeOptions {
  readonly services: readonly Service[];
  /** Default 127.0.0.1: reachable from this machine only. */
  readonly host?: string;
  /** Default 0: any free port, see `RpcServer.port`. */
  readonly port?: number;
  /** Without it the connection is not encrypted. */
  readonly tls?: TlsFiles;
  /** Names the server in errors about its address; default "the server". */
  readonly name?: string;
}

/** A server that listens. */
export interface RpcServer {
  /** `host:port` it listens on. */
  readonly address: string;
  readonly port: number;
  /** Sets the answer of the health service; serving from the start. */
  setServing(serving: boolean): void;
  /**
   * Takes no more calls, ends streams with `unavailable`, lets unary calls finish, and after `graceMs` (default 5,000) drops
   * the rest. Safe to call twice.
   */
  close(graceMs?: number): Promise<void>;
}

/**
 * Serves gRPC services, and the standard health service beside them.
 *
 * @throws WeftError `port_in_use`, `failed_precondition` (a port below 1024), `invalid_argument` (not an address of this
 * machine), or the errors of the TLS files.
 */
export async function serve(options: ServeOptions): Promise<RpcServer> {
  const { services, host = '127.0.0.1', port = 0, tls, name = 'the server' } = options;
  quietUnlessAsked();
  const credentials = await serverCredentials(tls);
  // Imported late: it parses its .proto when it is imported, and clients never need it.
  const { HealthImplementation } = await import('grpc-health-check');
  const closing = new AbortController();
  const server = new Server(serverOptions);
  for (const { definition, implementation } of services) server.addService(definition, implementation(closing.signal));
  const health = new HealthImplementation({ '': 'SERVING' });
  health.addToServer(server);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(formatAddress({ host, port }), credentials, (error, boundPort) => {
      if (error === null) resolve(boundPort);
      else reject(listenError(error, name, { host, port }, '--port'));
    });
  });
  let closed: Promise<void> | undefined;
  return {
    address: formatAddress({ host, port: bound }),
    port: bound,
    setServing: (serving) => health.setStatus('', serving ? 'SERVING' : 'NOT_SERVING'),
    close: (graceMs = 5000) => {
      closed ??= shutDown(server, graceMs);
      health.setStatus('', 'NOT_SERVING');
      closing.abort();
      return closed;
    },
  };
}

function shutDown(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.forceShutdown(), graceMs);
    server.tryShutdown(() => {
      clearTimeout(force);
      resolve();
    });
  });
}
