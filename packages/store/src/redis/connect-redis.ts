import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { WeftError } from '@weft/common';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { RedisTarget } from './redis-url.js';

export type RedisClient = Redis | Cluster;

const CONNECT_TIMEOUT_MS = 5000;
/** A server that answers nothing for so long is taken for dead. Longer than any call is allowed to block. */
const SILENCE_MS = 12_000;
const FIRST_RETRY_MS = 10;
/** Between two attempts to come back. */
export const LONGEST_RETRY_MS = 2000;

/**
 * A client that is not connected yet and reconnects for ever. It repeats nothing: a command that was under way when the
 * connection broke is rejected, and so is one that is given while there is none. What may be repeated is for the caller to
 * know.
 */
export function createRedisClient(target: RedisTarget): RedisClient {
  const { nodes, parameters, masterName, username, password, database } = target;
  const options = {
    ...{ username, password, db: database, tls: tlsOptions(target), connectionName: 'weft', lazyConnect: true },
    ...{ enableOfflineQueue: false, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 },
    ...{ connectTimeout: CONNECT_TIMEOUT_MS, socketTimeout: SILENCE_MS, retryStrategy: backOffMs },
    // Of a connection that never came about it waits for the end, and the process with it.
    disconnectTimeout: 50,
    // After a failover the old master may live on as a replica.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  } satisfies RedisOptions;
  if (target.kind === 'cluster') {
    return new Cluster([...nodes], {
      ...{ redisOptions: options, lazyConnect: true, enableOfflineQueue: false, clusterRetryStrategy: backOffMs },
      ...{ retryDelayOnFailover: 0, slotsRefreshTimeout: CONNECT_TIMEOUT_MS },
    });
  }
  if (target.kind === 'sentinel') {
    return new Redis({
      ...options,
      ...{ sentinels: nodes.map((node) => ({ ...node })), name: masterName, sentinelRetryStrategy: backOffMs },
      ...{ sentinelUsername: parameters.sentinelUsername, sentinelPassword: parameters.sentinelPassword },
      ...{ sentinelTLS: options.tls, enableTLSForSentinelMode: target.tls, failoverDetector: true },
    });
  }
  const [{ host, port } = { host: '127.0.0.1', port: 6379 }] = nodes;
  return new Redis({ ...options, host, port });
}

/** Twice as long each time, with a little chance in it, so that many clients do not come back at once. */
export function backOffMs(attempt: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 16), LONGEST_RETRY_MS) * (0.75 + Math.random() / 4);
}

function tlsOptions({ tls, parameters: { ca, cert, key, servername } }: RedisTarget): ConnectionOptions | undefined {
  if (!tls) return undefined;
  return {
    ...(ca === undefined ? {} : { ca: readPem('ca', ca) }),
    ...(cert === undefined ? {} : { cert: readPem('cert', cert) }),
    ...(key === undefined ? {} : { key: readPem('key', key) }),
    ...(servername === undefined ? {} : { servername }),
  };
}

function readPem(parameter: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new WeftError(
      'invalid_argument',
      `${parameter} of the URL of Redis names a file that cannot be read: ${path}`,
      {
        cause,
      },
    );
  }
}
