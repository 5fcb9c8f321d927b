/** What a simulation came to. JSON-serialisable. */
export interface SimulationReport {
  readonly seed: number;
  readonly workers: number;
  readonly hours: number;
  /** Processor time that it took. */
  readonly cpuSeconds: number;
  /** Of the time of workers that runs had, the part that went into steps which were kept. */
  readonly goodput: number;
  readonly stepsCommitted: number;
  /** Committed, and trained again after a run had gone back. */
  readonly stepsLost: number;
  readonly runs: number;
  readonly generations: number;
  /** Coordinators, one after the other. */
  readonly coordinators: number;
  readonly decisions: number;
  /** From an interruption of a run to its next commit. */
  readonly recoverySeconds: {
    readonly count: number;
    readonly median: number;
    readonly p95: number;
    readonly most: number;
  };
  /** Of all workers, by their number and the interval. They are not simulated one by one: `decide` looks up when the last one came. */
  readonly heartbeats: number;
  /** Messages that arrived, by direction and kind, the most frequent first. */
  readonly messages: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
}

/** @param sorted in rising order @param part 0.5: the median */
export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
}

/** A report for people. */
export function describeReport(report: SimulationReport): string {
  const { seed, workers, hours, cpuSeconds, goodput, recoverySeconds: recovery } = report;
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count.toLocaleString('en')}`)
      .join(', ');
  return [
    `seed ${seed}: ${workers} workers for ${hours} h with all invariants, in ${cpuSeconds.toFixed(1)} s of a processor (${(hours / cpuSeconds).toFixed(1)} h a second)`,
    `  goodput ${(100 * goodput).toFixed(1)} %; ${report.stepsCommitted} steps of ${report.runs} runs, ${report.stepsLost} more trained again, ${report.generations} generations, ${report.coordinators} coordinators`,
    `  from an interruption to the next commit: median ${recovery.median.toFixed(1)} s, 95 % within ${recovery.p95.toFixed(1)} s, longest ${recovery.most.toFixed(1)} s (${recovery.count})`,
    `  ${report.decisions.toLocaleString('en')} decisions with records; messages: heartbeats ${report.heartbeats.toLocaleString('en')}, ${list(report.messages)}`,
    `  faults: ${list(report.faults)}`,
  ].join('\n');
}
