import { hostname } from 'node:os';
import {
  createProgram,
  type HelpOutput,
  hostAndPort,
  mustBe,
  port,
  readOptions,
  text,
  toArguments,
  UsageError,
  wholeNumber,
} from '@weft/command-line';
import { parseAddress, WeftError } from '@weft/common';
import { Home } from '@weft/files';

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
  /** What all devices of this worker could compute, 10¹² operations per second; undefined: as the table of chips has it. */
  readonly peakTflops: number | undefined;
  /** End when stdin ends, because the parent process has died. */
  readonly exitWithStdin: boolean;
  /** The beginning of the worker's id. */
  readonly name: string;
}

/** What the program below reads. */
interface GivenOptions {
  readonly coordinator?: string;
  readonly home?: string;
  readonly host?: string;
  readonly dataPort: number;
  readonly metricsPort: number;
  readonly gpus?: readonly string[];
  readonly threads?: number;
  readonly peakTflops?: number;
  readonly name?: string;
  readonly exitWithStdin?: true;
}

const PURPOSE: Readonly<Record<WorkerCommand, string>> = {
  worker: 'trains what it is assigned: one worker is one rank.',
  'expert-worker': 'holds experts of the MoE layers of the runs it is assigned.',
};

/**
 * @param output where help is written
 * @returns undefined when help was asked for
 * @throws UsageError naming option and value
 */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  role: WorkerCommand = 'worker',
  output: HelpOutput = process.stdout,
): WorkerProcessOptions | undefined {
  const program = createProgram(`weft ${role}`, output)
    .description(`Connects to a coordinator and ${PURPOSE[role]}`)
    .option(
      '--coordinator <host:port>',
      'the coordinator (default: $WEFT_COORDINATOR, or the one that keeps the home)',
      hostAndPort,
    )
    .option('--home <directory>', 'where coordinator.json is looked for (default: $WEFT_HOME, or .weft)', text)
    .option(
      '--host <address>',
      'the address at which other workers reach this one (default: the one from which it reaches the coordinator)',
      text,
    )
    .option('--data-port <port>', 'the port for other workers; 0 for any free one', port, 0)
    .option('--metrics-port <port>', 'the port of /metrics and /healthz; 0 for any free one', port, 0)
    .option(
      '--gpus <list|none>',
      'start one worker for each of these GPUs, such as 0,1,2 (default: one worker)',
      listOfGpus,
    )
    .option(
      '--threads <n>',
      "threads inside one operation (default: this worker's share of the cores)",
      wholeNumber(1, 1024),
    )
    .option(
      '--peak-tflops <n>',
      'what its devices together could compute, in TFLOP/s, for MFU (default: $WEFT_PEAK_TFLOPS, or the table of chips)',
      positiveNumber,
    )
    .option('--name <name>', 'what the worker is called (default: the name of the host)', text)
    .option('--exit-with-stdin', 'end when standard input ends');
  const given = readOptions<GivenOptions>(program, argv);
  if (given === undefined) return undefined;
  return {
    role,
    // `--home` also chooses a coordinator, so it wins over the environment.
    coordinator: given.coordinator ?? (given.home === undefined ? coordinatorOf(env) : undefined),
    home: new Home(given.home, env).directory,
    host: given.host,
    dataPort: given.dataPort,
    metricsPort: given.metricsPort,
    gpus: given.gpus,
    threads: given.threads,
    peakTflops: given.peakTflops ?? peakOf(env),
    exitWithStdin: given.exitWithStdin === true,
    name: given.name ?? hostname(),
  };
}

/** The arguments with which `parseOptions` gives these options again, in any environment. */
export function argumentsOf(options: WorkerProcessOptions): string[] {
  const { coordinator, home, host, dataPort, metricsPort, gpus, threads, peakTflops, name, exitWithStdin } = options;
  return toArguments({
    coordinator,
    home,
    host,
    'data-port': dataPort,
    'metrics-port': metricsPort,
    gpus: gpus?.length === 0 ? 'none' : gpus,
    threads,
    'peak-tflops': peakTflops,
    name,
    'exit-with-stdin': exitWithStdin,
  });
}

function coordinatorOf(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const address = env.WEFT_COORDINATOR || undefined;
  try {
    if (address !== undefined) parseAddress(address);
    return address;
  } catch (cause) {
    const { message, hint } = WeftError.from(cause);
    throw new UsageError(`WEFT_COORDINATOR: ${message}`, hint, cause);
  }
}

function peakOf({ WEFT_PEAK_TFLOPS }: Readonly<Record<string, string | undefined>>): number | undefined {
  if (WEFT_PEAK_TFLOPS === undefined || WEFT_PEAK_TFLOPS === '') return undefined;
  try {
    return positiveNumber(WEFT_PEAK_TFLOPS);
  } catch (cause) {
    const given = JSON.stringify(WEFT_PEAK_TFLOPS);
    throw new UsageError(`WEFT_PEAK_TFLOPS must be a number above 0, not ${given}`, 'such as 989 for an H100', cause);
  }
}

function positiveNumber(value: string): number {
  const number = Number(value);
  if (value.trim() !== '' && number > 0 && Number.isFinite(number)) return number;
  throw mustBe('a number above 0');
}

function listOfGpus(value: string): readonly string[] {
  if (value === 'none') return [];
  const gpus = value.split(',');
  if (gpus.every((gpu) => /^(\d+|GPU-[\w-]+|MIG-[\w/-]+)$/.test(gpu)) && new Set(gpus).size === gpus.length)
    return gpus;
  throw mustBe('a list of different GPUs such as 0,1,2, or none');
}
