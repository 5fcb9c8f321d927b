import { networkInterfaces } from 'node:os';
import { formatAddress, parseAddress, WEFT_VERSION, type WeftError } from '@weft/common';
import {
  type CoordinatorFile,
  type Home,
  readCoordinatorFile,
  removeCoordinatorFile,
  writeCoordinatorFile,
} from '@weft/files';
import { serve } from '@weft/rpc';
import { CoordinatorMetrics, type Logger, serveMetrics } from '@weft/telemetry';
import { Coordinator } from './coordinator.js';
import { acquireStore } from './leased-store.js';
import type { CoordinatorProcessOptions } from './options.js';
import { servePage } from './page/page-server.js';
import { coordinatorServices } from './services.js';

/** How long calls may still take when the process ends. */
const CLOSE_TIMEOUT_MS = 1000;
/** With `--no-standby`: how long to wait for another coordinator that is about to end. */
const NO_STANDBY_WAIT_MS = 2000;

type StartOptions = Omit<CoordinatorProcessOptions, 'exitWithStdin'>;

/** A coordinator that listens. */
export interface RunningCoordinator {
  /** `host:port` at which this machine reaches it, and others where it listens for them. */
  readonly address: string;
  readonly metricsAddress: string;
  /** `host:port` of the web page; undefined where it is off. */
  readonly pageAddress: string | undefined;
  /** Resolves when it cannot go on. */
  readonly failed: Promise<WeftError>;
  close(): Promise<void>;
}

/**
 * Waits for the lease of the store, then opens a coordinator with its sockets and metrics, and writes its address to
 * `coordinator.json`.
 *
 * @param signal ends the wait for the lease.
 * @throws WeftError `failed_precondition` for a home that has a coordinator, `port_in_use` and other errors of addresses.
 */
export async function startCoordinator(
  options: StartOptions,
  log: Logger,
  signal?: AbortSignal,
): Promise<RunningCoordinator> {
  const { home, host, port, metricsPort, page, recover, heartbeatTimeoutMs, pricePerWorkerHour } = options;
  const leasedStore = await acquireStore({
    ...storeOptions(options),
    log,
    ...(signal === undefined ? {} : { signal }),
  });
  const metrics = new CoordinatorMetrics();
  const timeouts = { heartbeatTimeoutMs };
  const price = pricePerWorkerHour === undefined ? {} : { pricePerWorkerHour };
  const coordinator = await Coordinator.open({ home, leasedStore, recover, timeouts, log, metrics, ...price }).catch(
    async (thrown: unknown) => {
      await leasedStore.close();
      throw thrown;
    },
  );
  const closers = [() => leasedStore.close()];
  const close = async () => {
    // Before its server: the end of the streams must not look like the loss of the workers.
    await coordinator.close();
    for (const undo of closers.splice(0).reverse()) await undo();
  };
  try {
    const name = 'the coordinator';
    const server = await serve({ services: coordinatorServices(coordinator), host, port, name });
    closers.push(() => server.close(CLOSE_TIMEOUT_MS));
    const metricsServer = await serveMetrics({
      registry: metrics.registry,
      host,
      port: metricsPort,
      name: 'the metrics of the coordinator',
      onScrape: () => coordinator.updateMetrics(),
      json: { '/sd/workers': () => coordinator.scrapeTargets() },
    });
    closers.push(() => metricsServer.close());
    const pageServer = page === 'off' ? undefined : await servePage({ coordinator, home, address: page, log });
    if (pageServer !== undefined) closers.push(() => pageServer.close());
    const here = reachableHost(host);
    const address = formatAddress({ host: here, port: server.port });
    const metricsAddress = formatAddress({ host: here, port: metricsServer.port });
    const pageAddress = pageServer && reachableAddress(pageServer.address);
    const file = {
      address,
      metricsAddress,
      ...(pageAddress === undefined ? {} : { pageAddress }),
      processId: process.pid,
      version: WEFT_VERSION,
    };
    await writeCoordinatorFile(home, file);
    closers.push(() => removeOwnFile(home, file));
    return { address, metricsAddress, pageAddress, failed: coordinator.failed, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

function storeOptions({ home, redisUrl, keyPrefix, standsBy }: StartOptions) {
  return {
    home: home.directory,
    ...(redisUrl === undefined ? {} : { redisUrl }),
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(standsBy ? {} : { waitMs: NO_STANDBY_WAIT_MS }),
  };
}

/** Another coordinator may have taken over and written its own address. */
async function removeOwnFile(home: Home, own: CoordinatorFile): Promise<void> {
  const now = await readCoordinatorFile(home);
  if (now?.address === own.address && now.processId === own.processId) await removeCoordinatorFile(home);
}

function reachableAddress(address: string): string {
  const { host, port } = parseAddress(address);
  return formatAddress({ host: reachableHost(host), port });
}

/**
 * For a socket that listens on all addresses: the first that other hosts may reach, because they may share the home; loopback
 * where this machine has no other.
 */
function reachableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host;
  const [family, loopback] = host === '::' ? ['IPv6', '::1'] : ['IPv4', '127.0.0.1'];
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const others = addresses.filter((each) => each.family === family && !each.internal && !isLinkLocal(each.address));
  return others[0]?.address ?? loopback;
}

const isLinkLocal = (address: string) => address.startsWith('fe80:') || address.startsWith('169.254.');
