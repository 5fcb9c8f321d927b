import { type ClientDuplexStream, Metadata, type ServerDuplexStream, type ServiceError } from '@grpc/grpc-js';
import type { WeftError } from '@weft/common';
import { EndOfStream, type MessageStream } from './message-stream.js';
import { clientLeft } from './paired-streams.js';
import { type CallSite, fromServiceError, toStatus } from './wire-error.js';

/** How long a client that closed waits for the server's status before it cancels the call. */
const GOODBYE_MS = 5000;

/** The client's end of a bidirectional call. */
export function clientStream<In, Out>(call: ClientDuplexStream<Out, In>, site: CallSite): MessageStream<In, Out> {
  return new EndOfStream<In, Out>((end) => {
    let failure: WeftError | undefined;
    let goodbye: NodeJS.Timeout | undefined;
    const over = () => {
      clearTimeout(goodbye);
      end.ended(failure);
    };
    call.on('data', (message: In) => end.received(message));
    // An error comes before the last messages have been read; the end comes after them.
    call.on('error', (error: ServiceError) => {
      failure ??= fromServiceError(error, site);
    });
    call.on('end', over);
    call.on('close', over);
    return {
      send: (message) => call.write(message),
      close(error) {
        if (error !== undefined) return call.cancel();
        goodbye = setTimeout(() => call.cancel(), GOODBYE_MS);
        goodbye.unref();
        call.end();
      },
    };
  });
}

/** The server's end of a bidirectional call. */
export function serverStream<In, Out>(call: ServerDuplexStream<In, Out>): MessageStream<In, Out> {
  return new EndOfStream<In, Out>((end) => {
    let closing = false;
    call.sendMetadata(new Metadata());
    call.on('data', (message: In) => end.received(message));
    // grpc-js ends the stream in the same way when the client closed it and when it was cut off. Reading from the call shows
    // the difference: if it was cut off, `cancelled` is set before the next turn of the event loop.
    call.on('end', () => {
      call.sendMetadata(new Metadata());
      setImmediate(() => {
        end.ended(call.cancelled && !closing ? clientLeft() : undefined);
        call.end();
      });
    });
    // Also emitted after this server has sent its status.
    call.on('cancelled', () => end.ended(closing ? undefined : clientLeft()));
    return {
      send: (message) => call.write(message),
      close(error) {
        closing = true;
        if (error === undefined) call.end();
        else call.emit('error', toStatus(error));
      },
    };
  });
}
