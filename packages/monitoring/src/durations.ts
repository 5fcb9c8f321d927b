/**
 * The times of rules and scrapes, by how long they shall be: 1 as they are meant, 0.01 a hundredth of it, to rehearse alerts
 * or to test them. All scale together, so that a window has as many scrapes as ever.
 */
export class Durations {
  readonly scale: number;

  /** @param scale above 0 */
  constructor(scale = 1) {
    this.scale = scale;
  }

  /** So many seconds, scaled, as a number in an expression. */
  seconds(seconds: number): number {
    return Number((seconds * this.scale).toPrecision(6));
  }

  /** So many seconds, scaled, as Prometheus writes durations: `5m`, `90s`, `150ms`; at least a millisecond. */
  of(seconds: number): string {
    const ms = Math.max(1, Math.round(seconds * this.scale * 1000));
    for (const [unit, each] of UNITS) if (ms % each === 0) return `${ms / each}${unit}`;
    return `${ms}ms`;
  }
}

const UNITS = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** Between two scrapes, seconds: alerts and windows are made for it. */
export const SCRAPE_SECONDS = 15;
