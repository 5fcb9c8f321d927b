import { large, percent, plural } from '@weft/common';
import { hasEnded } from '@weft/contracts';
import { type FollowedRun, type SweepRun, sweepRunJson } from '@weft/sweeps';
import { LiveRegion } from '../progress/live-region.js';
import { clip, type Line, type Span, span, table } from '../styled-lines.js';
import { print, printJson, type Terminal } from '../terminal.js';

/** Shows the progress of a sweep or grid. */
export interface SweepDisplay<Run> {
  /** A sentence worth a line of its own. */
  event(text: string): void;
  /** A run has ended. */
  ended(run: Run, runs: readonly Run[]): void;
  /** A run made progress. */
  refresh(runs: readonly Run[]): void;
  /** Removes what is shown of running runs: the summary shows them all. */
  clear(): void;
  /** Leaves the terminal clean for what is printed next. */
  close(): void;
}

/** How runs of one kind are shown. */
export interface RunPresentation<Run> {
  /** For `--json`. */
  readonly json: (run: Run) => object;
  /** For a file or pipe: what came of a run that has ended. */
  readonly sentence: (run: Run) => string;
  /** For a terminal: all runs. */
  readonly table: (runs: readonly Run[]) => readonly Line[];
}

/** Runs of a learning-rate sweep. */
export const SWEEP_RUNS: RunPresentation<SweepRun> = { json: sweepRunJson, sentence: endSentence, table: renderGrid };

/** The display that fits the terminal and `--json`. */
export function createSweepDisplay<Run extends FollowedRun>(
  terminal: Terminal,
  { json }: { json: boolean },
  presentation: RunPresentation<Run>,
): SweepDisplay<Run> {
  if (json) return jsonDisplay(terminal, presentation);
  return terminal.stdout.isTTY && terminal.env.TERM !== 'dumb'
    ? tableDisplay(terminal, presentation)
    : plainDisplay(terminal, presentation);
}

/** One JSON object per line. */
function jsonDisplay<Run>(terminal: Terminal, presentation: RunPresentation<Run>): SweepDisplay<Run> {
  return {
    event: (message) => printJson(terminal, { type: 'event', message }),
    ended: (run) => printJson(terminal, { type: 'runEnded', ...presentation.json(run) }),
    refresh: () => {},
    clear: () => {},
    close: () => {},
  };
}

/** A line for every run that ends. */
function plainDisplay<Run extends FollowedRun>(
  terminal: Terminal,
  presentation: RunPresentation<Run>,
): SweepDisplay<Run> {
  return {
    event: (text) => print(terminal, text),
    ended: (run, runs) => {
      const done = runs.filter((each) => hasEnded(each.view)).length;
      print(terminal, `${done}/${runs.length}  ${presentation.sentence(run)}`);
    },
    refresh: () => {},
    clear: () => {},
    close: () => {},
  };
}

/** The table of the grid, redrawn in place. */
function tableDisplay<Run extends FollowedRun>(
  terminal: Terminal,
  presentation: RunPresentation<Run>,
): SweepDisplay<Run> {
  const region = new LiveRegion(terminal);
  let lines: readonly Line[] = [];
  return {
    event: (text) => {
      region.printAbove(text);
      region.draw(lines);
    },
    ended: () => {},
    refresh: (runs) => {
      const columns = Math.max(10, terminal.stdout.columns - 1);
      lines = [...presentation.table(runs), [span(progressSentence(runs), 'dim')]].map((line) => clip(line, columns));
      region.draw(lines);
    },
    clear: () => region.clear(),
    close: () => region.keep(),
  };
}

function endSentence({ planned, view, score, givenUp }: SweepRun): string {
  const what =
    givenUp ?? (score === null ? `${view.status}${view.reason === '' ? '' : `, ${view.reason}`}` : score.toFixed(4));
  return `${planned.scale} at ${planned.learningRate}, seed ${planned.seed}: ${what}`;
}

function progressSentence(runs: readonly FollowedRun[]): string {
  const count = (status: FollowedRun['view']['status']) => runs.filter(({ view }) => view.status === status).length;
  const done = runs.filter(({ view }) => hasEnded(view)).length;
  return `${done} of ${plural(runs.length, 'run')} ended, ${count('running')} running, ${count('queued')} waiting`;
}

/** Scales down, rates across: the score of every cell, the best of each scale marked; of running cells, how far they are. */
export function renderGrid(runs: readonly SweepRun[]): Line[] {
  const rates = [...new Set(runs.map(({ planned }) => planned.learningRate))].toSorted((a, b) => a - b);
  const scales = [...new Set(runs.map(({ planned }) => planned.scale))];
  const rows = scales.map((scale) => {
    const own = runs.filter(({ planned }) => planned.scale === scale);
    const cells = rates.map((rate) => own.filter(({ planned }) => planned.learningRate === rate));
    const means = cells.map(meanScore);
    const best = Math.min(...means.flatMap((mean) => mean ?? []));
    return [
      span(scale, 'bold'),
      large(own[0]?.planned.params ?? 0),
      ...cells.map((cell, i) => cellSpan(cell, means[i] ?? null, means[i] === best)),
    ];
  });
  const titles = [{ title: 'scale' }, { title: 'N' }, ...rates.map((rate) => ({ title: String(rate) }))];
  return table(
    titles.map(({ title }, i) => ({ title, align: i === 0 ? 'left' : 'right' })),
    rows,
  );
}

/** The mean over the seeds, once all have one. */
function meanScore(cell: readonly SweepRun[]): number | null {
  if (cell.length === 0) return null;
  return cell.reduce<number | null>(
    (sum, { score }) => (sum === null || score === null ? null : sum + score / cell.length),
    0,
  );
}

function cellSpan(cell: readonly SweepRun[], mean: number | null, isBest: boolean): Span {
  if (cell.length === 0) return span('');
  if (mean !== null) return isBest ? span(`${mean.toFixed(4)}*`, 'green') : span(mean.toFixed(4));
  if (cell.some(({ givenUp }) => givenUp !== undefined)) return span('given up', 'yellow');
  if (cell.some(({ view }) => view.status === 'failed')) return span('failed', 'red');
  if (cell.every(({ view }) => view.status === 'finished')) return span('diverged', 'yellow');
  const [done, all] = cell.reduce(([done, all], { view }) => [done + view.step, all + view.steps], [0, 0]);
  return done === 0 ? span('·', 'dim') : span(percent(done / all), 'cyan');
}
