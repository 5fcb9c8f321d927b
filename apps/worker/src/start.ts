import { randomBytes } from 'node:crypto';
import { availableParallelism, hostname } from 'node:os';
import type { acceleratorPlugin } from '@weft/backend-pjrt';
import type { describeNativeLibrary } from '@weft/backend-tensorflow';
import { DataPlane } from '@weft/collectives';
import { formatAddress, parseAddress } from '@weft/common';
import { Role, WorkersService } from '@weft/proto';
import { channel } from '@weft/rpc';
import { type Logger, type MetricsServer, SpanRecorder, serveMetrics, WorkClock, WorkerMetrics } from '@weft/telemetry';
import { findCoordinator, outboundAddress } from './find-coordinator.js';
import { heartbeatThread } from './heartbeat.js';
import type { WorkerProcessOptions } from './options.js';
import { type Connection, Worker } from './worker.js';

const HEARTBEAT_THREAD = new URL('./heartbeat-thread.js', import.meta.url);

/** A worker that is connected, or trying to connect. */
export interface RunningWorker {
  readonly workerId: string;
  readonly dataPlaneAddress: string;
  readonly metricsAddress: string;
  /** Resolves after `close`. @throws WeftError the coordinator's refusal. */
  readonly done: Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a worker's sockets, loads the training code and connects the worker to its coordinator.
 *
 * @throws WeftError `unavailable` when no coordinator is known, `port_in_use` and other errors of addresses.
 */
export async function startWorker(options: WorkerProcessOptions, log: Logger): Promise<RunningWorker> {
  const host = options.host ?? (await outboundAddress(await findCoordinator(options)));
  const workerId = `${options.name}-${randomBytes(3).toString('hex')}`;
  const timer = new WorkClock();
  const metrics = new WorkerMetrics(timer);
  const dataPlane = await DataPlane.listen(await dataPlaneHosts(options, host));
  const leaving = new AbortController();
  let hasLeft = false;
  const page = await serveMetrics({
    registry: metrics.registry,
    host,
    port: options.metricsPort,
    name: 'the metrics of the worker',
    onScrape: () => metrics.onScrape(),
    unhealthy: () => (hasLeft ? 'the worker is leaving' : undefined),
  }).catch(async (thrown: unknown) => {
    await dataPlane.close();
    throw thrown;
  });
  // Imported late, because they load TensorFlow's bindings; and before connecting, to be ready for the first step.
  const [
    { acceleratorPlugin },
    { describeNativeLibrary },
    { bf16Backends, computeHost, devicePeak, ExpertSession, TrainingSession, workerMemory },
  ] = await Promise.all([import('@weft/backend-pjrt'), import('@weft/backend-tensorflow'), import('@weft/training')]);
  const device = describeDevice({
    accelerator: acceleratorPlugin(),
    library: describeNativeLibrary(),
    visibleGpus: process.env.CUDA_VISIBLE_DEVICES,
    threads: options.threads,
  });
  const computer = computeHost();
  const worker = new Worker({
    hello: {
      workerId,
      hostName: hostname(),
      processId: process.pid,
      device,
      role: roleOf(options),
      bf16Backends: [...bf16Backends(computer)],
      memory: workerMemory(computer),
      peak: devicePeak(computer, options.peakTflops),
      metricsAddress: advertised(page, dataPlane.address),
    },
    connect: () => connect(options, log),
    dataPlane,
    openSession: (session) => TrainingSession.open(session),
    openExperts: (session) => ExpertSession.open(session),
    threads: options.threads,
    metrics,
    timer,
    spans: new SpanRecorder(),
    log,
  });
  const done = worker.run(leaving.signal).finally(async () => {
    hasLeft = true;
    await page.close();
    await dataPlane.close();
  });
  return {
    workerId,
    dataPlaneAddress: dataPlane.address,
    metricsAddress: page.address,
    done,
    close: async () => {
      leaving.abort();
      await done.catch(() => {});
    },
  };
}

/** Of a page on all addresses, the one at which others reach this worker. */
function advertised({ address, port }: MetricsServer, dataPlaneAddress: string): string {
  const isEverywhere = address.startsWith('0.0.0.0:') || address.startsWith('[::]:');
  return isEverywhere ? formatAddress({ host: parseAddress(dataPlaneAddress).host, port }) : address;
}

function roleOf({ role }: WorkerProcessOptions): Role {
  return role === 'expert-worker' ? Role.ROLE_EXPERT_WORKER : Role.ROLE_RANK;
}

async function dataPlaneHosts(options: WorkerProcessOptions, host: string) {
  const port = options.dataPort;
  if (host !== '0.0.0.0' && host !== '::') return { host, port };
  return { host, port, advertisedHost: await outboundAddress(await findCoordinator(options)) };
}

async function connect(options: WorkerProcessOptions, log: Logger): Promise<Connection> {
  const address = await findCoordinator(options);
  const open = await channel(address);
  return {
    stream: open.bidi(WorkersService.connect),
    startHeartbeat: heartbeatThread(address, log, HEARTBEAT_THREAD),
    address,
    close: () => open.close(),
  };
}

/** What a worker finds on its host. */
interface DeviceParts {
  readonly accelerator: ReturnType<typeof acceleratorPlugin>;
  readonly library: ReturnType<typeof describeNativeLibrary>;
  /** `CUDA_VISIBLE_DEVICES`. */
  readonly visibleGpus: string | undefined;
  readonly threads: number | undefined;
}

/** What a run will compute on that leaves the choice open, for people: `cpu, 2 cores, TensorFlow 2.21.0`. */
export function describeDevice({ accelerator, library, visibleGpus, threads }: DeviceParts): string {
  const cores = threads ?? availableParallelism();
  const cpu = `cpu, ${cores} ${threads === undefined ? 'core' : 'thread'}${cores === 1 ? '' : 's'}`;
  const isLimited = visibleGpus !== undefined && visibleGpus !== '' && visibleGpus !== '-1';
  if (accelerator !== undefined) {
    return `gpu${isLimited ? ` ${visibleGpus}` : ''}, PJRT${accelerator.version === null ? '' : ` ${accelerator.version}`}`;
  }
  if (!library.found) return `${cpu}, JavaScript`;
  const engine = library.version === null ? 'TensorFlow' : `TensorFlow ${library.version}`;
  return `${isLimited ? `gpu ${visibleGpus}` : cpu}, ${engine}`;
}
