import { counter } from './declare-metric.js';

/** What a worker reports of reading shards at addresses, summed over everything it reads. */
export const REMOTE_METRICS = {
  remoteBytes: counter(
    'weft_worker_remote_fetched_bytes_total',
    'bytes',
    'Bytes of shards fetched from addresses such as s3://.',
  ),
  remoteRequests: counter(
    'weft_worker_remote_requests_total',
    'requests',
    'Requests to the servers of shards, repeated ones included.',
  ),
  remoteRetries: counter(
    'weft_worker_remote_retries_total',
    'requests',
    'Of them, those that repeated one which had failed or was refused for the moment.',
  ),
  remoteHits: counter(
    'weft_worker_remote_cache_hits_total',
    'reads',
    'Reads of shards at addresses that found their block in the cache of the host.',
  ),
  remoteMisses: counter(
    'weft_worker_remote_cache_misses_total',
    'reads',
    'Reads of shards at addresses that waited for their block to be fetched.',
  ),
  remoteWait: counter(
    'weft_worker_remote_wait_seconds_total',
    'seconds',
    'Time of these waits, over all reads at once.',
  ),
} as const;
