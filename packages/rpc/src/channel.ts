import { Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import { parseAddress, systemClock, WeftError } from '@weft/common';
import { clientStream } from './call-streams.js';
import type { MessageStream } from './message-stream.js';
import type { BidiMethod, ServerStreamMethod, UnaryMethod } from './methods.js';
import { channelCredentials, type TlsFiles } from './tls.js';
import { channelOptions, quietUnlessAsked } from './transport-options.js';
import { fromServiceError } from './wire-error.js';

/** Options of a unary call. */
export interface CallOptions {
  /** The time for the whole call, retries included; default 10,000. */
  readonly deadlineMs?: number;
  /** Whether the call may be repeated when the connection fails. Default false. */
  readonly idempotent?: boolean;
  /** Aborting it cancels the call. */
  readonly signal?: AbortSignal;
}

/** Options of a streaming call. */
export interface StreamOptions {
  readonly signal?: AbortSignal;
}

/** The deadline of a unary call without one. */
const DEFAULT_DEADLINE_MS = 10_000;
const RETRY_DELAYS_MS = [100, 300, 900];

/**
 * A channel to `host:port`. It connects with the first call, and again by itself when the connection breaks.
 *
 * @throws WeftError `invalid_argument` for a malformed address or TLS files that do not fit, `not_found` for missing ones.
 */
export async function channel(address: string, options: { readonly tls?: TlsFiles } = {}): Promise<Channel> {
  parseAddress(address);
  quietUnlessAsked();
  return new Channel(address, new Client(address, await channelCredentials(options.tls), channelOptions));
}

/** Created by `channel`. Every failed call is a WeftError: the server's, or one about the connection. */
export class Channel {
  readonly address: string;
  readonly #client: Client;

  constructor(address: string, client: Client) {
    this.address = address;
    this.#client = client;
  }

  /** One request, one response. */
  async unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    { deadlineMs = DEFAULT_DEADLINE_MS, idempotent = false, signal }: CallOptions = {},
  ): Promise<Response> {
    const deadline = Date.now() + deadlineMs;
    const site = { address: this.address, path: method.path, deadlineMs, signal };
    const delays = idempotent ? RETRY_DELAYS_MS : [];
    for (let attempt = 0; ; attempt++) {
      const answer = await this.#ask(method, request, deadline, signal);
      if (!('failure' in answer)) return answer.response;
      const error = fromServiceError(answer.failure, site);
      const delayMs = (delays[attempt] ?? Number.POSITIVE_INFINITY) * (0.5 + Math.random());
      if (error.code !== 'unavailable' || Date.now() + delayMs >= deadline) throw error;
      await systemClock.sleep(delayMs, signal);
    }
  }

  #ask<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly response: Response } | { readonly failure: ServiceError }> {
    if (signal?.aborted) return Promise.reject(cancelled(method.path, this.address));
    return new Promise((resolve) => {
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        { deadline },
        (failure, response) => {
          signal?.removeEventListener('abort', cancel);
          if (failure !== null) resolve({ failure });
          else if (response !== undefined) resolve({ response });
        },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** One request, then responses as the server sends them; leaving the loop cancels the call. */
  async *serverStream<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    { signal }: StreamOptions = {},
  ): AsyncGenerator<Response, void, undefined> {
    if (signal?.aborted) throw cancelled(method.path, this.address);
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      for await (const message of call as AsyncIterable<Response>) yield message;
    } catch (error) {
      throw fromServiceError(error as ServiceError, { address: this.address, path, signal });
    } finally {
      signal?.removeEventListener('abort', cancel);
      cancel();
    }
  }

  /** Messages both ways. An unreachable server shows as `closed` resolving to `unavailable`. */
  bidi<Out, In>(method: BidiMethod<Out, In>, { signal }: StreamOptions = {}): MessageStream<In, Out> {
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    const stream = clientStream<In, Out>(call, { address: this.address, path });
    const cancel = () => stream.close(cancelled(path, this.address));
    if (signal?.aborted) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    void stream.closed.then(() => signal?.removeEventListener('abort', cancel));
    return stream;
  }

  /** Closes the connection; current calls fail with `cancelled` or `unavailable`. */
  close(): void {
    this.#client.close();
  }
}

function cancelled(path: string, address: string): WeftError {
  return new WeftError('cancelled', `the call ${path.slice(path.lastIndexOf('/') + 1)} to ${address} was cancelled`);
}
