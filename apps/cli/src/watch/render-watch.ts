import type { ProgressView } from '@weft/client';
import { decimal, duration, large, percent } from '@weft/common';
import {
  type RunGoodput,
  type RunRank,
  type RunRanks,
  TIME_BUCKET_NAMES,
  TIME_BUCKETS,
  type TimeBucket,
  totalSeconds,
} from '@weft/contracts';
import { barLine, headLine, sequencesLine, sparks, trendSpan } from '../progress/render-progress.js';
import { clip, type Line, lineWidth, type Span, type Style, span, table } from '../styled-lines.js';
import type { WatchCurves } from './watch-curves.js';

/** What a terminal shows of a run that is watched. */
export interface WatchView {
  readonly view: ProgressView;
  readonly curves: WatchCurves;
  /** Undefined before they came. */
  readonly ranks: RunRanks | undefined;
  readonly goodput: RunGoodput | undefined;
}

const LABEL_WIDTH = 16;
const VALUE_WIDTH = 10;
const MAX_SPARKS = 72;

/** A picture of the run that fits the terminal: what matters less is left out where there is no room for it. */
export function renderWatch({ view, curves, ranks, goodput }: WatchView, columns: number, rows: number): Line[] {
  const head = [headLine(view), [...barLine(view, columns), ...endSpan(view)]];
  const time = goodput === undefined ? [] : goodputLines(goodput, columns);
  const lines = curveLines(view, curves, columns);
  const foot = sequencesLine(view);
  const fixed = head.length + (time.length > 0 ? time.length + 1 : 0) + (foot.length > 0 ? 1 : 0);
  const room = Math.max(0, rows - fixed - 1);
  // Curves first; ranks get what is left, but at least three of them where there are some.
  const members = ranks?.ranks ?? [];
  const wanted = Math.min(members.length, MAX_RANKS);
  const forRanks = wanted === 0 ? 0 : Math.min(wanted + 3, Math.max(room - lines.length - 1, Math.min(6, room)));
  const shownCurves = lines.slice(0, Math.max(1, room - forRanks - 1));
  const parts = [head, shownCurves, rankLines(members, forRanks - 1), time].filter((part) => part.length > 0);
  const spaced = parts.flatMap((part, at) => (at === 0 ? part : [[], ...part]));
  const all = foot.length === 0 ? spaced : [...spaced, foot];
  return all.slice(0, rows).map((line) => clip(line, columns));
}

function endSpan({ run, etaSeconds }: ProgressView): Span[] {
  if (etaSeconds === undefined || run.status !== 'running') return [];
  const end = new Date(Date.now() + 1000 * etaSeconds);
  const day = etaSeconds > 20 * 3600 ? `${end.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ` : '';
  return [span(`  ends ${day}${end.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })}`, 'dim')];
}

/** The curves that are shown, from the most to the least important, with the digits that fit them. */
function curveLines(view: ProgressView, curves: WatchCurves, columns: number): Line[] {
  const names = curves.names;
  const starting = (prefix: string) => names.filter((name) => name.startsWith(prefix)).sort();
  const sources = starting('loss.');
  const scores = starting('score.');
  const chosen: [label: string, name: string, format: (value: number) => string, style: Style][] = [
    ['loss', 'loss', decimal, 'cyan'],
    ['held-out loss', 'heldOut', decimal, 'cyan'],
    ['tokens/s', 'tokensPerSecond', large, 'green'],
    ['grad norm', 'gradNorm', decimal, 'yellow'],
    ['learning rate', 'learningRate', (value) => value.toExponential(2), 'dim'],
    ['MFU', 'mfu', percent, 'green'],
    ...starting('measure.').map((name): (typeof chosen)[number] => [
      name.slice('measure.'.length),
      name,
      decimal,
      'green',
    ]),
    ...scores.slice(0, MAX_SCORES).map((name) => scoreLine(name)),
    ...(sources.length > 1 ? sources : []).map((name): (typeof chosen)[number] => [
      `loss ${name.slice('loss.'.length)}`,
      name,
      decimal,
      'cyan',
    ]),
  ];
  const width = Math.min(MAX_SPARKS, columns - LABEL_WIDTH - VALUE_WIDTH - TREND_WIDTH - 2);
  return chosen.flatMap(([label, name, format, style]) => {
    const latest = curves.latest(name);
    if (latest === undefined) return [];
    const line: Span[] = [
      span(fitted(label, LABEL_WIDTH), 'dim'),
      span(format(latest).padStart(VALUE_WIDTH), name === 'loss' ? 'bold' : undefined),
    ];
    const trend = name === 'loss' ? trendSpan(view.lossTrend) : span('');
    line.push(trend, span(' '.repeat(TREND_WIDTH - lineWidth([trend]))));
    if (width >= 8) line.push(span(sparks(curves.parts(name, Math.min(width, curves.lastStep))), style));
    return [line];
  });
}

const TREND_WIDTH = 3;
const MAX_SCORES = 4;

const scoreLine = (name: string): [string, string, (value: number) => string, Style] => {
  const [, task = '', shots = ''] = name.split('.');
  return [`${task} ${shots}-shot`, name, (value) => value.toFixed(1), 'green'];
};

const fitted = (text: string, width: number) =>
  (text.length >= width ? `${text.slice(0, width - 2)}…` : text).padEnd(width);

/** Of more ranks those are shown that the others wait for the longest. */
const MAX_RANKS = 16;
/** Times of a rank are means over so many steps. */
const MEAN_STEPS = 10;

function rankLines(members: readonly RunRank[], mostRows: number): Line[] {
  if (members.length === 0 || mostRows < 2) return [];
  const most = Math.min(MAX_RANKS, mostRows - 1);
  const all = members.map((member) => ({ member, times: meanTimes(member) }));
  const isCut = all.length > most;
  const shown = isCut
    ? all
        .toSorted((a, b) => (a.times?.waiting ?? Infinity) - (b.times?.waiting ?? Infinity))
        .slice(0, Math.max(1, most - 1))
        .sort((a, b) => members.indexOf(a.member) - members.indexOf(b.member))
    : all;
  const lines = table(
    [
      { title: 'rank' },
      { title: 'now' },
      { title: 'waits', align: 'right' },
      { title: 'compute', align: 'right' },
      { title: 'exchange', align: 'right' },
      { title: 'data', align: 'right' },
      { title: 'apply', align: 'right' },
      { title: 'host' },
    ],
    shown.map(({ member, times }) => [
      member.role === 'rank' ? `${member.rank}` : `experts ${member.rank}`,
      stateOf(member),
      ...[times?.waiting, times?.compute, times?.communication, times?.data, times?.apply].map((seconds) =>
        seconds === undefined ? '–' : duration(seconds),
      ),
      member.hostName,
    ]),
  );
  if (!isCut) return lines;
  return [...lines, [span(`… and ${all.length - shown.length} that wait longer for the others`, 'dim')]];
}

function stateOf({ hasVoted, silentSeconds, role, trouble }: RunRank): Span {
  // Of an older coordinator it is absent.
  if (trouble) return span(trouble.startsWith('hangs') ? 'hangs' : 'slow', 'red');
  if (silentSeconds > 3) return span(`silent for ${silentSeconds} s`, 'red');
  if (role === 'expertWorker') return span('serves', 'green');
  return hasVoted ? span('waits for others', 'yellow') : span('at work', 'green');
}

function meanTimes({ steps }: RunRank) {
  const last = steps.slice(-MEAN_STEPS);
  if (last.length === 0) return undefined;
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return {
    data: mean(last.map(({ data }) => data)),
    compute: mean(last.map(({ compute }) => compute)),
    communication: mean(last.map(({ communication }) => communication)),
    waiting: mean(last.map(({ waiting }) => waiting)),
    apply: mean(last.flatMap(({ apply }) => apply ?? [])),
  };
}

/** What a second was spent on, as people see it: progress, waiting, what a run costs beside, what was lost. */
const KINDS: Readonly<Record<TimeBucket, readonly [mark: string, style: Style]>> = {
  computing: ['█', 'green'],
  communicating: ['█', 'cyan'],
  evaluating: ['█', 'green'],
  waitingForData: ['▓', 'yellow'],
  waitingForStraggler: ['▓', 'yellow'],
  waitingForExperts: ['▓', 'yellow'],
  checkpointing: ['▒', 'cyan'],
  compiling: ['▒', 'cyan'],
  starting: ['▒', 'cyan'],
  recovering: ['▚', 'red'],
  redoingLostWork: ['▚', 'red'],
  idle: ['░', 'dim'],
  queued: ['░', 'dim'],
};

const MAX_BAR = 60;
const LEAST_NAMED = 0.005;

type Shares = readonly { readonly bucket: TimeBucket; readonly share: number }[];

function goodputLines({ spent, goodput, cost }: RunGoodput, columns: number): Line[] {
  const total = totalSeconds(spent);
  if (total <= 0) return [];
  const shares = TIME_BUCKETS.map((bucket) => ({ bucket, share: spent[bucket] / total }));
  const label = `goodput ${goodput === null ? '–' : percent(goodput)}`;
  const money = cost === null ? '' : `  cost ${cost.toFixed(2)}`;
  const width = Math.max(8, Math.min(MAX_BAR, columns - LABEL_WIDTH - money.length));
  return [
    [span(fitted(label, LABEL_WIDTH), 'bold'), ...barOf(shares, width), span(money, 'dim')],
    [span(' '.repeat(LABEL_WIDTH)), ...namesOf(shares, columns - LABEL_WIDTH)],
  ];
}

/** The greatest shares with their marks, as many as fit. */
function namesOf(shares: Shares, columns: number): Span[] {
  const named: Span[] = [];
  for (const { bucket, share } of shares.toSorted((a, b) => b.share - a.share)) {
    const [mark, style] = KINDS[bucket];
    const name = [
      span(`${named.length === 0 ? '' : '  '}${mark} `, style),
      span(`${TIME_BUCKET_NAMES[bucket]} ${percent(share)}`, 'dim'),
    ];
    if (share < LEAST_NAMED || lineWidth([...named, ...name]) > columns) break;
    named.push(...name);
  }
  return named;
}

/** Every bucket from the first to the last column that its share reaches, so that the bar is exactly as wide as asked for. */
function barOf(shares: Shares, width: number): Span[] {
  let before = 0;
  return shares.flatMap(({ bucket, share }) => {
    const from = Math.round(before * width);
    before += share;
    const to = Math.round(before * width);
    const [mark, style] = KINDS[bucket];
    return to > from ? [span(mark.repeat(to - from), style)] : [];
  });
}
