import { type ChildProcess, spawn } from 'node:child_process';
import type { Logger } from '@weft/telemetry';
import { argumentsOf, type WorkerProcessOptions } from './options.js';

/** One worker process per GPU; they end with this process. */
export class GpuWorkers {
  readonly #children: readonly ChildProcess[];
  /** Resolves when all have ended, to the highest of their exit codes. */
  readonly ended: Promise<number>;

  /** @param options of `weft worker`: those of each child, apart from its GPU and ports */
  constructor(options: WorkerProcessOptions, gpus: readonly string[], log: Logger) {
    this.#children = gpus.map((_, index) => {
      const own = [options.role, ...argumentsOf(childOptions(options, gpus, index))];
      return spawn(process.execPath, [process.argv[1]!, ...own], { stdio: ['pipe', 'inherit', 'inherit'] });
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

/** Its own GPU and ports, and the flag by which it ends with its parent. */
export function childOptions(
  options: WorkerProcessOptions,
  gpus: readonly string[],
  index: number,
): WorkerProcessOptions {
  const { dataPort, metricsPort } = options;
  return {
    ...options,
    gpus: gpus.slice(index, index + 1),
    dataPort: portOf(dataPort, index),
    metricsPort: portOf(metricsPort, index),
    exitWithStdin: true,
  };
}

function portOf(first: number, index: number): number {
  return first === 0 ? 0 : first + index;
}
