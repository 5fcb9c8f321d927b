import { Worker } from 'node:worker_threads';
import type { Logger } from '@weft/telemetry';

/** Sends heartbeats until it is stopped. */
export interface Heartbeat {
  stop(): void;
}

/** Whose heartbeats, how often, and how they are sent. */
export interface HeartbeatOptions {
  readonly workerId: string;
  /** Of the worker's stream, for heartbeats beside it. */
  readonly token: string;
  readonly intervalMs: number;
  /** Sends a heartbeat on the worker's stream. */
  readonly sendHeartbeat: () => void;
}

/** Starts heartbeats. */
export type StartHeartbeat = (options: HeartbeatOptions) => Heartbeat;

/** Heartbeats from a timer; none while the event loop is blocked. */
export const timerHeartbeat: StartHeartbeat = ({ intervalMs, sendHeartbeat }) => {
  const timer = setInterval(sendHeartbeat, intervalMs);
  return { stop: () => clearInterval(timer) };
};

/** The `workerData` of the thread. */
export interface HeartbeatThreadData {
  readonly address: string;
  readonly workerId: string;
  readonly token: string;
  readonly intervalMs: number;
  /** One counter, which the event loop increases with each of its heartbeats. */
  readonly eventLoopTicks: Int32Array;
}

/**
 * Heartbeats from the event loop, on the worker's stream; and from a thread, on a connection of its own, while the event
 * loop is blocked: when it compiles a graph or computes in JavaScript.
 *
 * @param thread the compiled module of the thread
 */
export function heartbeatThread(address: string, log: Logger, thread: URL): StartHeartbeat {
  return (options) => {
    const { workerId, token, intervalMs, sendHeartbeat } = options;
    const eventLoopTicks = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const timer = timerHeartbeat({
      ...options,
      sendHeartbeat: () => {
        Atomics.add(eventLoopTicks, 0, 1);
        sendHeartbeat();
      },
    });
    const workerData: HeartbeatThreadData = { address, workerId, token, intervalMs, eventLoopTicks };
    return joined(timer, startThread(thread, workerData, log));
  };
}

function startThread(thread: URL, workerData: HeartbeatThreadData, log: Logger): Heartbeat {
  // Without the flags of this process, which may not suit a thread.
  const worker = new Worker(thread, { workerData, execArgv: [] });
  worker.on('error', (error) => {
    log.warn({ error }, 'heartbeats come from the event loop only: a long computation may look like a dead worker');
  });
  worker.unref();
  return { stop: () => void worker.terminate() };
}

function joined(...heartbeats: readonly Heartbeat[]): Heartbeat {
  return {
    stop: () => {
      for (const heartbeat of heartbeats) heartbeat.stop();
    },
  };
}
