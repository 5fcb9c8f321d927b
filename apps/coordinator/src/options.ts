import { parseFlags, portFlag, WeftError } from '@weft/common';
import { defaultTimeouts, type RecoveryPolicy } from '@weft/coordination';
import { Home } from '@weft/files';

const DEFAULT_PORT = 7070;

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
  /** Whether to wait for the lease of another coordinator, or to give up after a moment. */
  readonly standsBy: boolean;
  readonly recover: RecoveryPolicy;
  /** End when stdin ends, because the parent process has died. */
  readonly exitWithStdin: boolean;
  readonly heartbeatTimeoutMs: number;
}

/** The text of `weft coordinator --help`. */
export const HELP = `Usage: weft coordinator [options]

Runs the cluster: queues runs, forms rings of workers and commits their steps.

Options:
  --home <directory>         where runs, logs and coordinator.json are kept (default: $WEFT_HOME, or .weft)
  --redis <url>              keep logs and queue in Redis, where several coordinators may stand by for one another:
                             redis://, rediss://, redis+sentinel://, redis+cluster://
                             (default: $WEFT_REDIS_URL, or files in the home)
  --redis-prefix <text>      what the names of its keys begin with (default: $WEFT_REDIS_PREFIX, or weft)
  --no-standby               end, instead of waiting, when another coordinator uses this Redis
  --host <address>           the address to listen on; 0.0.0.0 for workers on other hosts (default: 127.0.0.1)
  --port <port>              the port for workers and commands; 0 for any free one (default: ${DEFAULT_PORT})
  --metrics-port <port>      the port of /metrics and /healthz; 0 for any free one (default: 0)
  --recover <auto|manual>    runs that were interrupted when the last coordinator went away: go on with them,
                             or leave them to \`weft resume\` (default: auto)
  --heartbeat-timeout <s>    seconds without a heartbeat after which a worker is lost (default: ${defaultTimeouts.heartbeatTimeoutMs / 1000})
  --exit-with-stdin          end when standard input ends
  -h, --help                 show this text
`;

const FLAGS = {
  home: { type: 'string' },
  redis: { type: 'string' },
  'redis-prefix': { type: 'string' },
  'no-standby': { type: 'boolean' },
  host: { type: 'string' },
  port: { type: 'string' },
  'metrics-port': { type: 'string' },
  recover: { type: 'string' },
  'heartbeat-timeout': { type: 'string' },
  'exit-with-stdin': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @returns undefined when help was asked for. @throws `invalid_argument` naming option and value. */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): CoordinatorProcessOptions | undefined {
  const values = parseFlags(argv, FLAGS, 'weft coordinator');
  if (values.help === true) return undefined;
  return {
    home: new Home(values.home, env),
    redisUrl: values.redis ?? (env.WEFT_REDIS_URL || undefined),
    keyPrefix: values['redis-prefix'] ?? (env.WEFT_REDIS_PREFIX || undefined),
    standsBy: values['no-standby'] !== true,
    host: values.host ?? '127.0.0.1',
    port: portFlag('port', values.port) ?? DEFAULT_PORT,
    metricsPort: portFlag('metrics-port', values['metrics-port']) ?? 0,
    recover: parseRecoveryPolicy(values.recover ?? 'auto'),
    exitWithStdin: values['exit-with-stdin'] === true,
    heartbeatTimeoutMs: parseTimeoutMs(values['heartbeat-timeout']) ?? defaultTimeouts.heartbeatTimeoutMs,
  };
}

function parseTimeoutMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 1 && seconds <= 3600) return seconds * 1000;
  throw new WeftError(
    'invalid_argument',
    `--heartbeat-timeout must be a number of seconds from 1 to 3600, not ${JSON.stringify(text)}`,
  );
}

function parseRecoveryPolicy(text: string): RecoveryPolicy {
  if (text === 'auto' || text === 'manual') return text;
  throw new WeftError('invalid_argument', `--recover must be auto or manual, not ${JSON.stringify(text)}`);
}
