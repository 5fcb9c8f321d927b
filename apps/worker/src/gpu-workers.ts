import { type ChildProcess, spawn } from 'node:child_process';
import type { Logger } from '@weft/telemetry';
import type { WorkerCommand } from './options.js';

/** Options of `GpuWorkers`. */
export interface GpuWorkersOptions {
  readonly role: WorkerCommand;
  readonly gpus: readonly string[];
  /** The arguments of `weft worker`, as given. */
  readonly argv: readonly string[];
  readonly dataPort: number;
  readonly metricsPort: number;
  readonly log: Logger;
}

/** One worker process per GPU; they end with this process. */
export class GpuWorkers {
  readonly #children: readonly ChildProcess[];
  /** Resolves when all have ended, to the highest of their exit codes. */
  readonly ended: Promise<number>;

  constructor({ role, gpus, argv, dataPort, metricsPort, log }: GpuWorkersOptions) {
    this.#children = gpus.map((gpu, index) => {
      const own = ownArguments(argv, gpu, portOf(dataPort, index), portOf(metricsPort, index));
      return spawn(process.execPath, [process.argv[1]!, role, ...own], { stdio: ['pipe', 'inherit', 'inherit'] });
    });
    const endings = this.#children.map(
      (child, index) =>
        new Promise<number>((resolve) => {
          const gone = (code: number | null, how: string) => {
            log.warn({ gpu: gpus[index], code }, `the worker of GPU ${gpus[index]} ended ${how}`);
            resolve(code ?? 1);
          };
          child.once('exit', (code, signal) => gone(code, signal === null ? `with exit code ${code}` : `by ${signal}`));
          child.once('error', (error) => gone(null, `before it began: ${error.message}`));
          child.stdin?.on('error', () => {});
        }),
    );
    this.ended = Promise.all(endings).then((codes) => Math.max(...codes));
  }

  /** Asks them to leave, and waits until they have. */
  async close(): Promise<void> {
    for (const child of this.#children) child.stdin?.end();
    await this.ended;
  }
}

/** The arguments of one child: its own GPU and ports, and the flag by which it ends with its parent. */
export function ownArguments(argv: readonly string[], gpu: string, dataPort: number, metricsPort: number): string[] {
  const replaced = ['--gpus', '--data-port', '--metrics-port'];
  const kept: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const text = argv[i]!;
    if (replaced.includes(text)) i++;
    else if (text !== '--exit-with-stdin' && !replaced.some((flag) => text.startsWith(`${flag}=`))) kept.push(text);
  }
  return [
    ...kept,
    '--gpus',
    gpu,
    '--data-port',
    `${dataPort}`,
    '--metrics-port',
    `${metricsPort}`,
    '--exit-with-stdin',
  ];
}

function portOf(first: number, index: number): number {
  return first === 0 ? 0 : first + index;
}
