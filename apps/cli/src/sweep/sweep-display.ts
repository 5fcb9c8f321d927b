import { plural } from '@weft/common';
import { hasEnded } from '@weft/contracts';
import { type SweepRun, sweepRunFacts } from '@weft/sweeps';
import { RedrawnBlock } from '../progress/redrawn-block.js';
import { clip, type Line, span } from '../spans.js';
import { say, type Terminal } from '../terminal.js';
import { gridTable } from './grid-table.js';

/** Shows a sweep while it goes. */
export interface SweepDisplay {
  /** A sentence worth a line of its own. */
  event(text: string): void;
  /** A run has ended. */
  ended(run: SweepRun, runs: readonly SweepRun[]): void;
  /** Something moved. */
  refresh(runs: readonly SweepRun[]): void;
  /** Takes away what is shown of runs at work: the conclusion shows it all. */
  clear(): void;
  /** Leaves the terminal clean for what is printed next. */
  close(): void;
}

export function createSweepDisplay(terminal: Terminal, { json }: { json: boolean }): SweepDisplay {
  if (json) return jsonDisplay(terminal);
  return terminal.stdout.isTTY && terminal.env.TERM !== 'dumb' ? tableDisplay(terminal) : plainDisplay(terminal);
}

/** One JSON object per line. */
function jsonDisplay(terminal: Terminal): SweepDisplay {
  const print = (value: object) => say(terminal, JSON.stringify(value));
  return {
    event: (message) => print({ type: 'event', message }),
    ended: (run) => print({ type: 'runEnded', ...sweepRunFacts(run) }),
    refresh: () => {},
    clear: () => {},
    close: () => {},
  };
}

/** A line for every run that ends. */
function plainDisplay(terminal: Terminal): SweepDisplay {
  return {
    event: (text) => say(terminal, text),
    ended: (run, runs) => say(terminal, endSentence(run, runs)),
    refresh: () => {},
    clear: () => {},
    close: () => {},
  };
}

/** The table of the grid, redrawn in place. */
function tableDisplay(terminal: Terminal): SweepDisplay {
  const block = new RedrawnBlock(terminal);
  let lines: readonly Line[] = [];
  return {
    event: (text) => {
      block.writeAbove(text);
      block.draw(lines);
    },
    ended: () => {},
    refresh: (runs) => {
      const columns = Math.max(10, terminal.stdout.columns - 1);
      lines = [...gridTable(runs), [span(summary(runs), 'dim')]].map((line) => clip(line, columns));
      block.draw(lines);
    },
    clear: () => block.erase(),
    close: () => block.leave(),
  };
}

function endSentence(run: SweepRun, runs: readonly SweepRun[]): string {
  const { planned, view, score, givenUp } = run;
  const what =
    givenUp ?? (score === null ? `${view.status}${view.reason === '' ? '' : `, ${view.reason}`}` : score.toFixed(4));
  const done = runs.filter((each) => hasEnded(each.view)).length;
  return `${done}/${runs.length}  ${planned.scale} at ${planned.learningRate}, seed ${planned.seed}: ${what}`;
}

function summary(runs: readonly SweepRun[]): string {
  const count = (status: SweepRun['view']['status']) => runs.filter(({ view }) => view.status === status).length;
  const done = runs.filter(({ view }) => hasEnded(view)).length;
  return `${done} of ${plural(runs.length, 'run')} ended, ${count('running')} running, ${count('queued')} waiting`;
}
