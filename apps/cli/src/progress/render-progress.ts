import type { ProgressView } from '@weft/client';
import { count, decimal, duration, percent, plural } from '@weft/common';
import type { RunView } from '@weft/contracts';
import { statusStyle } from '../runs/describe-run.js';
import { clip, type Line, lineWidth, type Span, span } from '../styled-lines.js';

const SPARKS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const MAX_BAR_WIDTH = 40;
const MAX_CHART_WIDTH = 24;

/** What a terminal shows of a run and redraws: at most five lines, none wider than `columns`. */
export function renderBlock(view: ProgressView, columns: number): Line[] {
  const lines = [
    headLine(view),
    barLine(view, columns),
    lossLine(view, columns),
    measuresLine(view),
    sequencesLine(view),
  ];
  return lines.filter((line) => line.length > 0).map((line) => clip(line, columns));
}

/** The run, its workers and its status. */
export function headLine({ run }: ProgressView): Line {
  const head = [span(run.runId, 'bold'), workersSpan(run)];
  if (run.generation > 1) head.push(span(`  generation ${run.generation}`, 'yellow'));
  if (run.status !== 'running') head.push(span(`  ${run.status}`, statusStyle(run.status)));
  if (run.status === 'queued' && run.reason !== '') head.push(span(`  ${run.reason}`, 'dim'));
  return head;
}

function workersSpan({ workers, worldSize }: RunView): Span {
  if (worldSize === workers || worldSize === 0) return span(`  ${plural(workers, 'worker')}`);
  return span(`  ${worldSize} of ${plural(workers, 'worker')}`, 'yellow');
}

/** How far it is, and how long it still takes. */
export function barLine({ run, etaSeconds }: ProgressView, columns: number): Line {
  const fraction = run.steps === 0 ? 0 : Math.min(1, run.step / run.steps);
  const numbers = `  ${run.step}/${run.steps}  ${percent(fraction)}`;
  const eta = etaSeconds === undefined ? '' : `  eta ${duration(etaSeconds)}`;
  const width = Math.min(MAX_BAR_WIDTH, columns - numbers.length - eta.length);
  return [...(width >= 4 ? bar(fraction, width) : []), span(numbers.slice(width >= 4 ? 0 : 2)), span(eta, 'dim')];
}

function bar(fraction: number, width: number): Span[] {
  const full = Math.floor(fraction * width);
  return [span('█'.repeat(full), 'green'), span('░'.repeat(width - full), 'dim')];
}

function lossLine(view: ProgressView, columns: number): Line {
  const { latest, losses, lossTrend, tokensPerSecond, secondsPerStep } = view;
  if (latest === undefined) return [];
  const line: Span[] = [span('loss ', 'dim'), span(decimal(latest.loss), 'bold'), trendSpan(lossTrend)];
  const rest: Span[] = [];
  if (tokensPerSecond !== undefined) rest.push(span(`  ${count(tokensPerSecond)} tokens/s`));
  if (secondsPerStep !== undefined) rest.push(span(`  ${duration(secondsPerStep)} a step`, 'dim'));
  rest.push(span(`  lr ${decimal(latest.learningRate)}`, 'dim'), span(`  gradNorm ${decimal(latest.gradNorm)}`, 'dim'));
  const width = Math.min(MAX_CHART_WIDTH, columns - lineWidth(line) - lineWidth(rest) - 1);
  if (width >= 8 && losses.length >= 4) line.push(span(` ${sparkline(losses, width)}`, 'cyan'));
  return [...line, ...rest];
}

/** What the task measures beside the loss, such as a contrastive run its accuracy. */
function measuresLine({ latest }: ProgressView): Line {
  const text = measuresText(latest?.measures);
  return text === '' ? [] : [span(text)];
}

function measuresText(measures: Readonly<Record<string, number | null>> = {}): string {
  return Object.entries(measures)
    .map(([name, value]) => `${name} ${decimal(value)}`)
    .join('  ');
}

/** What it consumed, by source. */
export function sequencesLine({ latest, sequences, sequencesAreWhole }: ProgressView): Line {
  if (latest === undefined) return [];
  const parts = Object.entries(sequences)
    .map(([source, consumed]) => `  ${source} ${count(consumed)}`)
    .join('');
  return [span(sequencesAreWhole ? 'sequences' : 'sequences seen', 'dim'), span(parts)];
}

/** ↓ while the loss falls, ↑ while it rises by more than a thousandth of a nat, → in between. */
export function trendMark(lossTrend: number | undefined): string {
  if (lossTrend === undefined) return '';
  return lossTrend < -0.001 ? '↓' : lossTrend > 0.001 ? '↑' : '→';
}

/** `trendMark` in its colour, with a blank before it. */
export function trendSpan(lossTrend: number | undefined): Span {
  const mark = trendMark(lossTrend);
  return span(mark === '' ? '' : ` ${mark}`, mark === '↓' ? 'green' : mark === '↑' ? 'yellow' : 'dim');
}

/** A chart one line high: `width` bars, each the mean of its share of the values, scaled between the extremes. */
export function sparkline(values: readonly number[], width: number): string {
  const bars = Math.min(width, values.length);
  const means = Array.from({ length: bars }, (_, at) => {
    const part = values.slice(Math.floor((at * values.length) / bars), Math.floor(((at + 1) * values.length) / bars));
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  return sparks(means);
}

/** A bar for every value, scaled between the extremes; a blank where there is none. */
export function sparks(values: readonly (number | undefined)[]): string {
  const known = values.flatMap((value) => value ?? []);
  const low = Math.min(...known);
  const spread = Math.max(...known) - low;
  const heightOf = (value: number) => (spread === 0 ? 0 : Math.round(((value - low) / spread) * (SPARKS.length - 1)));
  return values.map((value) => (value === undefined ? ' ' : SPARKS[heightOf(value)])).join('');
}

/** One line per reported step, for logs and pipes. */
export function renderPlainStep(view: ProgressView): string {
  const { run, latest, lossTrend, tokensPerSecond, sequences, etaSeconds } = view;
  const parts = [
    `step ${latest?.step ?? run.step}/${run.steps}`,
    `loss ${decimal(latest?.loss)}${trendMark(lossTrend) === '' ? '' : ` ${trendMark(lossTrend)}`}`,
    measuresText(latest?.measures),
    `${count(tokensPerSecond ?? 0)} tokens/s`,
    Object.entries(sequences)
      .map(([source, consumed]) => `${source} ${count(consumed)}`)
      .join(' '),
  ];
  if (etaSeconds !== undefined) parts.push(`eta ${duration(etaSeconds)}`);
  return parts.filter((part) => part !== '').join('  ');
}

/** About how many lines a log has for a whole run. */
const LINES_PER_RUN = 20;
const ROUND_INTERVALS = [1, 2, 5];

/** The interval between reported steps in a log: 1, 2, 5, 10, 20, 50, …, which gives about twenty lines per run. */
export function plainInterval(steps: number): number {
  for (let magnitude = 1; ; magnitude *= 10)
    for (const round of ROUND_INTERVALS) if (steps / (round * magnitude) <= LINES_PER_RUN) return round * magnitude;
}
