import { WeftError } from '@weft/common';
import { type Carrier, EndOfStream, type MessageStream } from './message-stream.js';

/** Both ends of a stream. */
export interface PairedStreams<FromClient, FromServer> {
  readonly client: MessageStream<FromServer, FromClient>;
  readonly server: MessageStream<FromClient, FromServer>;
}

/** Both ends of a stream inside this process; it behaves like a gRPC call: copies, order, and how each end closes. */
export function pairedStreams<FromClient, FromServer>(): PairedStreams<FromClient, FromServer> {
  const client: EndOfStream<FromServer, FromClient> = new EndOfStream((self) =>
    memory(self, () => server, {
      seenByOther: (error) => error && clientLeft(),
    }),
  );
  const server: EndOfStream<FromClient, FromServer> = new EndOfStream((self) =>
    memory(self, () => client, {
      seenByOther: (error) => error && new WeftError(error.code, error.message, error.hint ? { hint: error.hint } : {}),
    }),
  );
  return { client, server };
}

/** The error of a server whose client vanished without a clean close. */
export function clientLeft(): WeftError {
  return new WeftError('unavailable', 'the other end left without closing the stream');
}

function memory<In, Out>(
  self: EndOfStream<In, Out>,
  other: () => EndOfStream<Out, In>,
  { seenByOther }: { seenByOther: (error: WeftError | undefined) => WeftError | undefined },
): Carrier<Out> {
  return {
    send(message) {
      const copy = structuredClone(message);
      queueMicrotask(() => other().received(copy));
    },
    close(error) {
      queueMicrotask(() => {
        other().ended(seenByOther(error));
        self.ended();
      });
    },
  };
}
