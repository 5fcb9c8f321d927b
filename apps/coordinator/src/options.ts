import { createProgram, type HelpOutput, mustBe, oneOf, port, readOptions, text, UsageError } from '@weft/command-line';
import { type Address, HEARTBEAT_TIMEOUT_MS, parseAddress } from '@weft/common';
import type { RecoveryPolicy } from '@weft/coordination';
import { Home } from '@weft/files';

/** The command line of `weft coordinator`, resolved. */
export interface CoordinatorProcessOptions {
  readonly home: Home;
  /** Where logs and queue are kept; undefined: in files of the home. */
  readonly redisUrl: string | undefined;
  /** What the names of its keys begin with; undefined: the default. */
  readonly keyPrefix: string | undefined;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** 0: any free port. */
  readonly metricsPort: number;
  /** Where the web page listens; undefined: on loopback, on its own port or any free one. */
  readonly page: Address | 'off' | undefined;
  /** Whether to wait for the lease of another coordinator, or to give up after a moment. */
  readonly standsBy: boolean;
  readonly recover: RecoveryPolicy;
  /** End when stdin ends, because the parent process has died. */
  readonly exitWithStdin: boolean;
  readonly heartbeatTimeoutMs: number;
  /** What an hour of a worker costs; undefined: not known. */
  readonly pricePerWorkerHour: number | undefined;
}

/** What the program below reads. */
interface GivenOptions {
  readonly home?: string;
  readonly redis?: string;
  readonly redisPrefix?: string;
  readonly standby: boolean;
  readonly host: string;
  readonly port: number;
  readonly metricsPort: number;
  readonly page?: Address | 'off';
  readonly recover: RecoveryPolicy;
  /** Seconds. */
  readonly heartbeatTimeout: number;
  readonly pricePerWorkerHour?: number;
  readonly exitWithStdin?: true;
}

/**
 * @param output where help is written
 * @returns undefined when help was asked for
 * @throws UsageError naming option and value
 */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  output: HelpOutput = process.stdout,
): CoordinatorProcessOptions | undefined {
  const program = createProgram('weft coordinator', output)
    .description('Runs the cluster: queues runs, forms rings of workers and commits their steps.')
    .option('--home <directory>', 'keep runs, logs and coordinator.json here (default: $WEFT_HOME, or .weft)', text)
    .option(
      '--redis <url>',
      'keep logs and queue in Redis, where several coordinators may stand by for one another: redis://, rediss://, ' +
        'redis+sentinel:// or redis+cluster:// (default: $WEFT_REDIS_URL, or files in the home)',
      text,
    )
    .option(
      '--redis-prefix <text>',
      'what the names of its keys begin with (default: $WEFT_REDIS_PREFIX, or weft)',
      text,
    )
    .option('--no-standby', 'end, instead of waiting, when another coordinator uses this Redis')
    .option('--host <address>', 'the address to listen on; 0.0.0.0 for workers on other hosts', text, '127.0.0.1')
    .option('--port <port>', 'the port for workers and commands; 0 for any free one', port, 7070)
    .option('--metrics-port <port>', 'the port of /metrics and /healthz; 0 for any free one', port, 0)
    .option(
      '--page <host:port|off>',
      'where the web page listens; beyond loopback it asks for a token (default: 127.0.0.1:7071, or a free port)',
      pageAddress,
    )
    .option(
      '--recover <auto|manual>',
      'runs that were interrupted when the last coordinator went away: go on with them, or leave them to `weft resume`',
      oneOf('auto', 'manual'),
      'auto',
    )
    .option(
      '--heartbeat-timeout <s>',
      'seconds without a heartbeat after which a worker is lost',
      heartbeatTimeout,
      HEARTBEAT_TIMEOUT_MS / 1000,
    )
    .option(
      '--price-per-worker-hour <amount>',
      'what an hour of a worker costs, so that runs show what they cost (default: $WEFT_PRICE_PER_WORKER_HOUR, or nothing)',
      price,
    )
    .option('--exit-with-stdin', 'end when standard input ends');
  const given = readOptions<GivenOptions>(program, argv);
  if (given === undefined) return undefined;
  return {
    home: new Home(given.home, env),
    redisUrl: given.redis ?? (env.WEFT_REDIS_URL || undefined),
    keyPrefix: given.redisPrefix ?? (env.WEFT_REDIS_PREFIX || undefined),
    standsBy: given.standby,
    host: given.host,
    port: given.port,
    metricsPort: given.metricsPort,
    page: given.page,
    recover: given.recover,
    exitWithStdin: given.exitWithStdin === true,
    heartbeatTimeoutMs: given.heartbeatTimeout * 1000,
    pricePerWorkerHour: given.pricePerWorkerHour ?? priceOf(env),
  };
}

function priceOf(env: Readonly<Record<string, string | undefined>>): number | undefined {
  const value = env.WEFT_PRICE_PER_WORKER_HOUR || undefined;
  try {
    return value === undefined ? undefined : price(value);
  } catch (cause) {
    throw new UsageError('WEFT_PRICE_PER_WORKER_HOUR must be a number from 0', 'write it as 2.5', cause);
  }
}

function price(value: string): number {
  const amount = Number(value);
  if (value.trim() !== '' && amount >= 0 && Number.isFinite(amount)) return amount;
  throw mustBe('a number from 0, such as 2.5');
}

function pageAddress(value: string): Address | 'off' {
  if (value === 'off') return value;
  try {
    return parseAddress(value);
  } catch {
    throw mustBe('an address such as 127.0.0.1:7071, or off');
  }
}

/** Seconds. */
function heartbeatTimeout(value: string): number {
  const seconds = Number(value);
  if (value.trim() !== '' && seconds >= 1 && seconds <= 3600) return seconds;
  throw mustBe('a number of seconds from 1 to 3600');
}
