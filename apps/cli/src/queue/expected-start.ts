import { duration } from '@weft/common';

/** "in about 12m 00s"; a start that should have been is due "at any moment". */
export function expectedStart(expectedStartMs: number, nowMs: number): string {
  const seconds = (expectedStartMs - nowMs) / 1000;
  return seconds < 1 ? 'at any moment' : `in about ${duration(seconds)}`;
}
