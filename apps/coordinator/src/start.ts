import { rm } from 'node:fs/promises';
import { formatAddress, WEFT_VERSION, type WeftError } from '@weft/common';
import { readJsonFile, writeJsonFile } from '@weft/files';
import { serve } from '@weft/rpc';
import { CoordinatorMetrics, type Logger, serveMetrics } from '@weft/telemetry';
import { Coordinator } from './coordinator.js';
import { holdStore } from './hold-store.js';
import { coordinatorFile } from './home.js';
import type { CoordinatorProcessOptions } from './options.js';
import { coordinatorServices } from './services.js';

/** Time for calls under way when the process is told to leave. */
const GRACE_MS = 1000;

type StartOptions = Omit<CoordinatorProcessOptions, 'exitWithStdin'>;

export interface RunningCoordinator {
  /** `host:port` at which this machine reaches it. */
  readonly address: string;
  readonly metricsAddress: string;
  /** Resolves when it cannot go on. */
  readonly failed: Promise<WeftError>;
  close(): Promise<void>;
}

/**
 * Waits until this process may coordinate, then opens a coordinator, its sockets and its metrics, and says in
 * `coordinator.json` where it is.
 *
 * @param signal gives the waiting up.
 * @throws `failed_precondition` for a home that is taken, `port_in_use` and what else can be wrong with an address.
 */
export async function startCoordinator(
  options: StartOptions,
  log: Logger,
  signal?: AbortSignal,
): Promise<RunningCoordinator> {
  const { home, host, port, metricsPort, recover, heartbeatTimeoutMs } = options;
  const keeper = await holdStore({ ...storeOf(options), log, ...(signal === undefined ? {} : { signal }) });
  const metrics = new CoordinatorMetrics();
  const settings = { heartbeatTimeoutMs };
  const coordinator = await Coordinator.open({ home, keeper, recover, settings, log, metrics }).catch(
    async (thrown: unknown) => {
      await keeper.close();
      throw thrown;
    },
  );
  const opened = [() => keeper.close()];
  const close = async () => {
    // Before its server, so that it does not take the end of the streams for the end of the workers.
    await coordinator.close();
    for (const undo of opened.splice(0).reverse()) await undo();
  };
  try {
    const name = 'the coordinator';
    const server = await serve({ services: coordinatorServices(coordinator), host, port, name });
    opened.push(() => server.close(GRACE_MS));
    const page = await serveMetrics({
      registry: metrics.registry,
      host,
      port: metricsPort,
      name: 'the metrics of the coordinator',
      onScrape: () => metrics.setOldestHeartbeatAge(coordinator.oldestHeartbeatAge()),
    });
    opened.push(() => page.close());
    const here = reachableHost(host);
    const address = formatAddress({ host: here, port: server.port });
    const metricsAddress = formatAddress({ host: here, port: page.port });
    const file = coordinatorFile(home);
    const whereabouts = { address, metricsAddress, processId: process.pid, version: WEFT_VERSION };
    await writeJsonFile(file, whereabouts);
    opened.push(() => removeIfSame(file, whereabouts));
    return { address, metricsAddress, failed: coordinator.failed, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** One that does not stand by gives a coordinator that is on its way out a moment. */
const MOMENT_MS = 2000;

function storeOf({ home, redisUrl, keyPrefix, standsBy }: StartOptions) {
  return {
    home,
    ...(redisUrl === undefined ? {} : { redisUrl }),
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(standsBy ? {} : { waitMs: MOMENT_MS }),
  };
}

/** Another coordinator may have taken over and written where it is. */
async function removeIfSame(file: string, written: object): Promise<void> {
  const now = await readJsonFile(file).catch(() => undefined);
  if (JSON.stringify(now) === JSON.stringify(written)) await rm(file, { force: true });
}

/** The address by which this machine reaches what listens on all addresses. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
