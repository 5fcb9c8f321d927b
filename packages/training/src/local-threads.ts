import { cpus } from 'node:os';
import type { RunConfig } from '@weft/config';

/** Threads inside one op: as wanted, as the run says, or this process's share of the host's cores. */
export function localThreads(options: {
  readonly config: RunConfig;
  readonly localWorkers?: number;
  readonly threads?: number;
}): number {
  const { config, localWorkers = 1, threads } = options;
  const wanted = threads ?? config.engine.threadsPerWorker;
  return wanted > 0 ? wanted : Math.max(1, Math.floor(cpus().length / localWorkers));
}
