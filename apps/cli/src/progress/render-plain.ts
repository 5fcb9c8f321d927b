import type { ProgressView } from '@weft/client';
import { count, decimal, duration, SOURCES } from '@weft/common';
import { trendMark } from './render-bar.js';

/** Lines a log gets over a whole run, roughly. */
const LINES_PER_RUN = 20;
const ROUND_INTERVALS = [1, 2, 5];

/** One line per reported step, for logs and pipes. */
export function renderPlainStep(view: ProgressView): string {
  const { run, latest, lossTrend, tokensPerSecond, sequences, etaSeconds } = view;
  const parts = [
    `step ${latest?.step ?? run.step}/${run.steps}`,
    `loss ${decimal(latest?.loss)}${trendMark(lossTrend) === '' ? '' : ` ${trendMark(lossTrend)}`}`,
    `${count(tokensPerSecond ?? 0)} tokens/s`,
    SOURCES.map((source) => `${source} ${count(sequences[source])}`).join(' '),
  ];
  if (etaSeconds !== undefined) parts.push(`eta ${duration(etaSeconds)}`);
  return parts.join('  ');
}

/** A log reports every so many steps: 1, 2, 5, 10, 20, 50, … such that a run makes about twenty lines. */
export function plainInterval(steps: number): number {
  for (let magnitude = 1; ; magnitude *= 10)
    for (const round of ROUND_INTERVALS) if (steps / (round * magnitude) <= LINES_PER_RUN) return round * magnitude;
}
