import { Worker } from 'node:worker_threads';
import type { Logger } from '@weft/telemetry';
import { type Heart, type StartHeart, timerHeart } from './heart.js';

/** What the thread is given. */
export interface HeartThreadData {
  readonly address: string;
  readonly workerId: string;
  readonly intervalMs: number;
  /** One counter that the event loop moves with every beat of its own. */
  readonly pulse: Int32Array;
}

/**
 * A heart of two chambers: a timer on the event loop beats on the worker's stream, and a thread beats beside the stream
 * whenever the event loop is too busy for its timer, as it is while it compiles a graph or computes in JavaScript.
 *
 * @param thread the compiled module of the thread.
 */
export function threadHeart(address: string, log: Logger, thread: URL): StartHeart {
  return (options) => {
    const { workerId, intervalMs, beat } = options;
    const pulse = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const timer = timerHeart({
      ...options,
      beat: () => {
        Atomics.add(pulse, 0, 1);
        beat();
      },
    });
    const workerData: HeartThreadData = { address, workerId, intervalMs, pulse };
    return joined(timer, startThread(thread, workerData, log));
  };
}

function startThread(thread: URL, workerData: HeartThreadData, log: Logger): Heart {
  // Without the flags of this process, which may not suit a thread.
  const worker = new Worker(thread, { workerData, execArgv: [] });
  worker.on('error', (error) => {
    log.warn({ error }, 'the heart beats on the event loop only: a long computation may look like a dead worker');
  });
  worker.unref();
  return { stop: () => void worker.terminate() };
}

function joined(...hearts: readonly Heart[]): Heart {
  return {
    stop: () => {
      for (const heart of hearts) heart.stop();
    },
  };
}
