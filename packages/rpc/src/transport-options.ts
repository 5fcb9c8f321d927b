import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/** The largest message either side accepts; the control plane's are far smaller, data travels elsewhere. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** A silent peer is asked for a sign of life after this time … */
const KEEPALIVE_INTERVAL_MS = 10_000;
/** … and given up after this more. */
const KEEPALIVE_TIMEOUT_MS = 5000;

const shared = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
};

export const serverOptions = shared;

export const channelOptions = {
  ...shared,
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
