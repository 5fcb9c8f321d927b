import { readFileSync } from 'node:fs';

/** Ticks of a processor a second, on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/**
 * Seconds since boot in which this machine's cores were taken: by any process, by the kernel, or by the machine's host,
 * who gave them to somebody else. Undefined where the system does not tell.
 */
export function takenCoreSeconds(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  return parseTakenSeconds(readFileSync('/proc/stat', 'utf8'));
}

/** @param stat the text of Linux's /proc/stat, see proc(5) */
export function parseTakenSeconds(stat: string): number | undefined {
  const ticks = /^cpu +(.*)$/m.exec(stat)?.[1]?.split(' ').map(Number);
  if (ticks === undefined) return undefined;
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0, stolen = 0] = ticks;
  return (user + nice + system + interrupts + softInterrupts + stolen) / TICKS_PER_SECOND;
}
