import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/** The largest message that either side accepts. Messages of the control plane are far smaller. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

const sizes = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
};

/**
 * A server pings a silent client, to close connections to hosts that are gone. It waits long for the answer: a worker whose
 * event loop is busy with tensors cannot answer, and the coordinator decides whether the worker lives.
 */
export const serverOptions = {
  ...sizes,
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 300_000,
};

/**
 * A client pings sooner, but waits a minute for the answer: when its own event loop was busy, the timer would fire before
 * an answer that has arrived is read.
 */
export const channelOptions = {
  ...sizes,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 60_000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  // A cluster's traffic must not use the web proxy that the environment names for downloads.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
};

/** Keeps grpc-js from writing errors to stderr that it also returns. */
export function quietUnlessAsked(): void {
  if (process.env.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE);
}
