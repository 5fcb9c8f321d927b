import type { PerSource } from './source.js';

/** Numbers as people read them. Every function is pure and locale-free. */

/** 1234567 → "1,234,567". */
export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ',');
}

/** 1387264 → "1.39 M"; for parameters and tokens. */
export function large(value: number): string {
  const units = ['', ' k', ' M', ' B', ' T'];
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return unit === 0 ? count(scaled) : `${threeDigits(scaled)}${units[unit]}`;
}

/** 1536 → "1.5 KiB". */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1023.5 && unit < units.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(scaled) : oneDecimal(scaled)} ${units[unit]}`;
}

/** 0.34 → "340ms", 1.23 → "1.2s", 72 → "1m 12s", 7500 → "2h 05m", 200000 → "2d 7h". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)}ms`;
  if (seconds < 9.95) return `${oneDecimal(seconds)}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${padded(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${padded(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3600)}h`;
}

/** How long ago: "12s ago", "3 min ago", "5 h ago", "2 d ago". */
export function age(elapsedMs: number): string {
  const seconds = Math.max(0, Math.round(elapsedMs / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** A loss or norm: four significant places where they matter; "not finite" for NaN and infinities. */
export function decimal(value: number | undefined | null): string {
  if (value === undefined || value === null) return '-';
  if (!Number.isFinite(value)) return 'not finite';
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100_000)) return value.toExponential(2);
  return value.toFixed(size < 10 ? 4 : 2);
}

/** 0.385 → "38 %"; 100 % only for the whole. */
export function percent(fraction: number): string {
  return `${Math.floor(fraction * 100 + 1e-9)} %`;
}

/** "captioned 54, interleaved 53, text 13". */
export function sourceCounts(counts: PerSource<number>): string {
  return Object.entries(counts)
    .map(([source, value]) => `${source} ${count(value)}`)
    .join(', ');
}

/** 3, 'worker' → "3 workers". */
export function plural(amount: number, noun: string): string {
  return `${count(amount)} ${noun}${amount === 1 ? '' : 's'}`;
}

function threeDigits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function oneDecimal(value: number): string {
  return value.toFixed(1).replace(/\.0$/, '');
}

function padded(value: number): string {
  return value.toString().padStart(2, '0');
}
