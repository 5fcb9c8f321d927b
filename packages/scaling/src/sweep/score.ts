import type { SweepMetric } from '@weft/config';
import type { Losses } from './hopeless.js';

/** What held-out sequences cost: the mean loss of each source's text tokens, and their mean weighted by the mixture. */
export interface HeldOutLoss {
  readonly loss: number | null;
  readonly sources: Readonly<Record<'captioned' | 'interleaved' | 'text', number | null>>;
}

/**
 * What a finished run comes to, the lower the better: the mean training loss of its last steps, or its last held-out
 * loss. Null when it has none: a loss was not finite, or nothing was held out.
 */
export function scoreOf(
  losses: Losses,
  heldOut: HeldOutLoss | null,
  metric: SweepMetric,
  lastSteps: number,
): number | null {
  if (metric === 'trainingLoss') {
    const last = losses.slice(-lastSteps);
    if (last.length === 0) return null;
    const sum = last.reduce<number | null>((total, loss) => (total === null || loss === null ? null : total + loss), 0);
    return sum === null ? null : sum / last.length;
  }
  const source = metric.split('.')[1];
  if (source === undefined) return heldOut?.loss ?? null;
  return Object.entries(heldOut?.sources ?? {}).find(([name]) => name === source)?.[1] ?? null;
}
