import { readdirSync } from 'node:fs';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import { processSeries } from './metrics.js';

const EVENT_LOOP_RESOLUTION_MS = 20;
const NANOSECONDS = 1e9;

/** Measures this process: memory, CPU time, file descriptors, delay of the event loop. */
export class ProcessMetrics {
  readonly #series: ReturnType<typeof processSeries>;
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });

  constructor(registry: Registry) {
    this.#series = processSeries(registry);
    this.#delay.enable();
    this.#series.startTime.set(performance.timeOrigin / 1000);
  }

  /** Takes the readings; called before every scrape. */
  read(): void {
    const series = this.#series;
    const { user, system } = process.cpuUsage();
    series.cpuTime.reset();
    series.cpuTime.inc((user + system) / 1e6);
    const { rss, heapUsed, external } = process.memoryUsage();
    series.residentMemory.set(rss);
    series.heapUsed.set(heapUsed);
    series.externalMemory.set(external);
    series.fileDescriptors.set(countFileDescriptors());
    // The histogram holds the intervals of a timer; what exceeds its resolution is delay.
    const delay = this.#delay.percentile(99) / NANOSECONDS - EVENT_LOOP_RESOLUTION_MS / 1000;
    series.eventLoopDelay.set(Number.isFinite(delay) ? Math.max(delay, 0) : 0);
    this.#delay.reset();
  }

  stop(): void {
    this.#delay.disable();
  }
}

function countFileDescriptors(): number {
  try {
    // One of them is the one that reads the list.
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return Number.NaN;
  }
}
