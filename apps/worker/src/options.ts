import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseAddress, parseFlags, portFlag, WeftError, wholeNumberFlag } from '@weft/common';

/** The two commands of this app: a worker that trains as a rank, or one that holds experts. */
export type WorkerCommand = 'worker' | 'expert-worker';

/** The command line of `weft worker` and `weft expert-worker`, resolved. */
export interface WorkerProcessOptions {
  readonly role: WorkerCommand;
  /** `host:port` of the coordinator; undefined: the one of `home`. */
  readonly coordinator: string | undefined;
  readonly home: string;
  /** The address at which other workers reach this one; undefined: the one from which it reaches the coordinator. */
  readonly host: string | undefined;
  /** 0: any free port. */
  readonly dataPort: number;
  /** 0: any free port. */
  readonly metricsPort: number;
  /** The GPUs to use, one worker each; undefined: those of the environment. Empty: none. */
  readonly gpus: readonly string[] | undefined;
  /** Threads inside one op; undefined: the run's setting. */
  readonly threads: number | undefined;
  /** End when stdin ends, because the parent process has died. */
  readonly exitWithStdin: boolean;
  /** The beginning of the worker's id. */
  readonly name: string;
}

const PURPOSE: Readonly<Record<WorkerCommand, string>> = {
  worker: 'trains what it is assigned: one worker is one rank.',
  'expert-worker': 'holds experts of the MoE layers of the runs it is assigned.',
};

/** The text of `weft worker --help` or `weft expert-worker --help`. */
export function help(role: WorkerCommand): string {
  return `Usage: weft ${role} [options]

Connects to a coordinator and ${PURPOSE[role]}

Options:
  --coordinator <host:port>  the coordinator (default: $WEFT_COORDINATOR, or the one that keeps the home)
  --home <directory>         where coordinator.json is looked for (default: $WEFT_HOME, or .weft)
  --host <address>           the address at which other workers reach this one
                             (default: the one from which it reaches the coordinator)
  --data-port <port>         the port for other workers; 0 for any free one (default: 0)
  --metrics-port <port>      the port of /metrics and /healthz; 0 for any free one (default: 0)
  --gpus <list|none>         start one worker for each of these GPUs, such as 0,1,2 (default: one worker)
  --threads <n>              threads inside one operation (default: this worker's share of the cores)
  --name <name>              what the worker is called (default: the name of the host)
  --exit-with-stdin          end when standard input ends
  -h, --help                 show this text
`;
}

const FLAGS = {
  coordinator: { type: 'string' },
  home: { type: 'string' },
  host: { type: 'string' },
  'data-port': { type: 'string' },
  'metrics-port': { type: 'string' },
  gpus: { type: 'string' },
  threads: { type: 'string' },
  name: { type: 'string' },
  'exit-with-stdin': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @returns undefined when help was asked for. @throws `invalid_argument` naming option and value. */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  role: WorkerCommand = 'worker',
): WorkerProcessOptions | undefined {
  const values = parseFlags(argv, FLAGS, `weft ${role}`);
  if (values.help === true) return undefined;
  // `--home` also chooses a coordinator, so it wins over the environment.
  const coordinator = values.coordinator ?? (values.home === undefined ? env.WEFT_COORDINATOR || undefined : undefined);
  if (coordinator !== undefined) parseAddress(coordinator);
  return {
    role,
    coordinator,
    home: resolve(values.home ?? (env.WEFT_HOME || '.weft')),
    host: values.host,
    dataPort: portFlag('data-port', values['data-port']) ?? 0,
    metricsPort: portFlag('metrics-port', values['metrics-port']) ?? 0,
    gpus: values.gpus === undefined ? undefined : gpusOf(values.gpus),
    threads: wholeNumberFlag('threads', values.threads, 1, 1024),
    exitWithStdin: values['exit-with-stdin'] === true,
    name: values.name ?? hostname(),
  };
}

function gpusOf(text: string): readonly string[] {
  if (text === 'none') return [];
  const gpus = text.split(',');
  if (gpus.every((gpu) => /^(\d+|GPU-[\w-]+|MIG-[\w/-]+)$/.test(gpu)) && new Set(gpus).size === gpus.length)
    return gpus;
  throw new WeftError('invalid_argument', `--gpus must be a list of different GPUs, not ${JSON.stringify(text)}`, {
    hint: 'write --gpus 0,1,2, or --gpus none',
  });
}
