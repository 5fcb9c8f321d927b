export { type CallOptions, Channel, channel, DEFAULT_DEADLINE_MS, type StreamOptions } from './channel.js';
export type { MessageStream } from './message-stream.js';
export type { BidiMethod, ServerStreamMethod, UnaryMethod } from './methods.js';
export { type PairedStreams, pairedStreams } from './paired-streams.js';
export { type RpcServer, type ServeOptions, serve } from './serve.js';
export {
  type BidiHandler,
  type CallContext,
  type Handlers,
  type ServerStreamHandler,
  type Service,
  service,
  type UnaryHandler,
} from './service.js';
export type { TlsFiles } from './tls.js';
export { MAX_MESSAGE_BYTES } from './transport-options.js';
