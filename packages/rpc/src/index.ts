export { Channel, channel } from './channel.js';
export type { MessageStream } from './message-stream.js';
export { pairedStreams } from './paired-streams.js';
export { type RpcServer, serve } from './serve.js';
export { type Handlers, type Service, service } from './service.js';
