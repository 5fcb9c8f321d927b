import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/** The largest message either side accepts; the control plane's are far smaller, data travels elsewhere. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

const sizes = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
};

/**
 * A server asks a silent client for a sign of life, to be rid of those whose host is gone. It is patient: a worker whose
 * event loop is busy with tensors cannot answer, and whether it lives is the coordinator's to decide.
 */
export const serverOptions = {
  ...sizes,
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 300_000,
};

/**
 * A client asks sooner, but waits a minute for the answer: after a busy minute of its own event loop the timer would fire
 * before the answer, which has long arrived, is read.
 */
export const channelOptions = {
  ...sizes,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 60_000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  // A cluster's own traffic must not leave through the web proxy that the environment names for downloads.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
};

/** grpc-js writes its errors to stderr besides returning them; ours are said once, by whoever handles them. */
export function quietUnlessAsked(): void {
  if (process.env.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE);
}
