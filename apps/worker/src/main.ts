import { WeftError } from '@weft/common';
import type { Logger } from '@weft/telemetry';
import closeWithGrace from 'close-with-grace';
import { GpuWorkers } from './gpu-workers.js';
import { parseOptions, type WorkerCommand, type WorkerProcessOptions } from './options.js';

/** How long the current step, after which the worker leaves its run, may delay the end of the process. */
const CLOSE_TIMEOUT_MS = 25_000;

/**
 * `weft worker` and `weft expert-worker`: runs until SIGTERM, SIGINT or, when asked, the end of stdin, and ends the process
 * with exit code 0. Resolves to an exit code when there is nothing to run, or when the workers of all GPUs have ended.
 *
 * @throws WeftError when it cannot start, or when the coordinator refuses it for good; a UsageError for a wrong command line.
 */
export async function main(argv: readonly string[], role: WorkerCommand = 'worker'): Promise<number> {
  const options = parseOptions(argv, process.env, role);
  if (options === undefined) return 0;
  // Only now, so that help and refusals appear at once.
  const { createLogger } = await import('@weft/telemetry');
  const log = createLogger({ role });
  if (options.gpus !== undefined && options.gpus.length > 1) return startWorkerPerGpu(options, options.gpus, log);
  // Before anything loads CUDA.
  if (options.gpus !== undefined) process.env.CUDA_VISIBLE_DEVICES = options.gpus[0] ?? '';
  const { startWorker } = await import('./start.js');
  const running = await startWorker(options, log);
  const { dataPlaneAddress, metricsAddress, workerId } = running;
  log.info(
    { workerId, dataPlaneAddress, metricsAddress },
    `worker ${workerId} is up, data plane at ${dataPlaneAddress}`,
  );
  shutdownGracefully(options, log, () => running.close());
  await running.done;
  // It was asked to leave, and `closeWithGrace` ends the process.
  return new Promise<number>(() => {});
}

async function startWorkerPerGpu(options: WorkerProcessOptions, gpus: readonly string[], log: Logger): Promise<number> {
  const workers = new GpuWorkers(options, gpus, log);
  shutdownGracefully(options, log, () => workers.close());
  return workers.ended;
}

function shutdownGracefully(
  { exitWithStdin }: Pick<WorkerProcessOptions, 'exitWithStdin'>,
  log: Logger,
  close: () => Promise<void>,
): void {
  const leaving = closeWithGrace({ delay: CLOSE_TIMEOUT_MS, logger: false, skip: ['beforeExit'] }, async (cause) => {
    if (cause.err !== undefined) log.error({ error: cause.err }, `unexpected: ${WeftError.from(cause.err).message}`);
    else log.info({ signal: cause.signal }, 'the worker leaves');
    await close();
  });
  if (exitWithStdin) process.stdin.once('close', () => leaving.close()).resume();
}
