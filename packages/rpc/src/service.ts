import { once } from 'node:events';
import type {
  handleUnaryCall,
  ServerDuplexStream,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { WeftError } from '@weft/common';
import { serverStream } from './call-streams.js';
import type { MessageStream } from './message-stream.js';
import type { BidiMethod, ServerStreamMethod, UnaryMethod } from './methods.js';
import { toStatus } from './wire-error.js';

/** The context of a call. */
export interface CallContext {
  /** Aborts when the caller has gone or its deadline has passed, and for streams also when the server shuts down. */
  readonly signal: AbortSignal;
  /** `host:port` of the caller. */
  readonly peer: string;
  /** The common name in the caller's certificate, when mutual TLS is on. */
  readonly peerName: string | undefined;
}

/** Answers one request. */
export type UnaryHandler<Request, Response> = (request: Request, context: CallContext) => Response | Promise<Response>;
/** The call ends with the iteration; a handler that waits must stop when `context.signal` aborts. */
export type ServerStreamHandler<Request, Response> = (
  request: Request,
  context: CallContext,
) => AsyncIterable<Response>;
/** The stream is closed when the promise settles. */
export type BidiHandler<Request, Response> = (
  stream: MessageStream<Request, Response>,
  context: CallContext,
) => Promise<void>;

/** One function per method of a generated service. The caller gets what it throws as a WeftError. */
export type Handlers<Definition> = {
  readonly [Name in keyof Definition]: Definition[Name] extends UnaryMethod<infer Request, infer Response>
    ? UnaryHandler<Request, Response>
    : Definition[Name] extends ServerStreamMethod<infer Request, infer Response>
      ? ServerStreamHandler<Request, Response>
      : Definition[Name] extends BidiMethod<infer Request, infer Response>
        ? BidiHandler<Request, Response>
        : never;
};

/** A service ready to be served. */
export interface Service {
  readonly definition: ServiceDefinition;
  /** `closing` aborts when the server begins to shut down. */
  readonly implementation: (closing: AbortSignal) => UntypedServiceImplementation;
}

/** Joins a generated service definition and its handlers; the compiler checks that none is missing. */
export function service<Definition extends ServiceDefinition>(
  definition: Definition,
  handlers: Handlers<Definition>,
): Service {
  return {
    definition,
    implementation: (closing) =>
      Object.fromEntries(
        Object.entries(definition).map(([name, { requestStream, responseStream }]) => {
          // The types of `Handlers` match handlers and methods; a loop over names cannot.
          const handler = handlers[name] as unknown;
          if (requestStream) return [name, bidiCall(handler as BidiHandler<unknown, unknown>, closing)];
          if (responseStream)
            return [name, serverStreamCall(handler as ServerStreamHandler<unknown, unknown>, closing)];
          return [name, unaryCall(handler as UnaryHandler<unknown, unknown>)];
        }),
      ),
  };
}

function unaryCall<Request, Response>(handler: UnaryHandler<Request, Response>): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const { context, done } = contextOf(call);
    Promise.resolve()
      .then(() => handler(call.request, context))
      .then(
        (response) => callback(null, response),
        (error: unknown) => callback(toStatus(error)),
      )
      .finally(done);
  };
}

function serverStreamCall<Request, Response>(handler: ServerStreamHandler<Request, Response>, closing: AbortSignal) {
  return async (call: ServerWritableStream<Request, Response>) => {
    const { context, done } = contextOf(call, closing);
    try {
      for await (const message of handler(call.request, context)) {
        if (context.signal.aborted) break;
        if (!call.write(message)) await once(call, 'drain', { signal: context.signal });
      }
      if (closing.aborted) throw shuttingDown();
      call.end();
    } catch (error) {
      call.emit('error', toStatus(closing.aborted ? shuttingDown() : error));
    } finally {
      done();
    }
  };
}

function bidiCall<Request, Response>(handler: BidiHandler<Request, Response>, closing: AbortSignal) {
  return async (call: ServerDuplexStream<Request, Response>) => {
    const { context, done } = contextOf(call, closing);
    const stream = serverStream(call);
    const shutDown = () => stream.close(shuttingDown());
    closing.addEventListener('abort', shutDown, { once: true });
    try {
      await handler(stream, context);
      stream.close();
    } catch (error) {
      stream.close(WeftError.from(error));
    } finally {
      closing.removeEventListener('abort', shutDown);
      done();
    }
  };
}

interface AnyCall {
  on(event: 'cancelled', listener: () => void): unknown;
  getPeer(): string;
  getAuthContext(): ReturnType<ServerDuplexStream<unknown, unknown>['getAuthContext']>;
}

function contextOf(call: AnyCall, closing?: AbortSignal): { context: CallContext; done: () => void } {
  const controller = new AbortController();
  const abort = () => controller.abort();
  call.on('cancelled', abort);
  closing?.addEventListener('abort', abort, { once: true });
  const subject = call.getAuthContext().sslPeerCertificate?.subject;
  const peerName = subject?.CN;
  return {
    context: {
      signal: controller.signal,
      peer: call.getPeer(),
      peerName: Array.isArray(peerName) ? peerName[0] : peerName,
    },
    done: () => closing?.removeEventListener('abort', abort),
  };
}

const shuttingDown = () =>
  new WeftError('unavailable', 'the server is shutting down', { hint: 'try again when it is back' });
