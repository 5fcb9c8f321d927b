import { Worker } from 'node:worker_threads';
import type { Logger } from '@weft/telemetry';

/** Gives signs of life until it is stopped. */
export interface Heartbeat {
  stop(): void;
}

export interface HeartbeatOptions {
  readonly workerId: string;
  readonly intervalMs: number;
  /** Sends a heartbeat on the worker's stream. */
  readonly sendHeartbeat: () => void;
}

export type StartHeartbeat = (options: HeartbeatOptions) => Heartbeat;

/** A heart that lives on the event loop and falters with it. */
export const timerHeartbeat: StartHeartbeat = ({ intervalMs, sendHeartbeat: beat }) => {
  const timer = setInterval(beat, intervalMs);
  return { stop: () => clearInterval(timer) };
};

/** What the thread is given. */
export interface HeartbeatThreadData {
  readonly address: string;
  readonly workerId: string;
  readonly intervalMs: number;
  /** One counter that the event loop moves with every beat of its own. */
  readonly eventLoopTicks: Int32Array;
}

/**
 * A heart of two chambers: a timer on the event loop beats on the worker's stream, and a thread beats beside the stream
 * whenever the event loop is too busy for its timer, as it is while it compiles a graph or computes in JavaScript.
 *
 * @param thread the compiled module of the thread.
 */
export function heartbeatThread(address: string, log: Logger, thread: URL): StartHeartbeat {
  return (options) => {
    const { workerId, intervalMs, sendHeartbeat: beat } = options;
    const pulse = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const timer = timerHeartbeat({
      ...options,
      sendHeartbeat: () => {
        Atomics.add(pulse, 0, 1);
        beat();
      },
    });
    const workerData: HeartbeatThreadData = { address, workerId, intervalMs, eventLoopTicks: pulse };
    return joined(timer, startThread(thread, workerData, log));
  };
}

function startThread(thread: URL, workerData: HeartbeatThreadData, log: Logger): Heartbeat {
  // Without the flags of this process, which may not suit a thread.
  const worker = new Worker(thread, { workerData, execArgv: [] });
  worker.on('error', (error) => {
    log.warn({ error }, 'the heart beats on the event loop only: a long computation may look like a dead worker');
  });
  worker.unref();
  return { stop: () => void worker.terminate() };
}

function joined(...hearts: readonly Heartbeat[]): Heartbeat {
  return {
    stop: () => {
      for (const heart of hearts) heart.stop();
    },
  };
}
