import type { RunObserver } from '@weft/client';
import type { Terminal } from '../terminal.js';
import { JsonDisplay } from './json-display.js';
import { PlainDisplay } from './plain-display.js';
import { TerminalDisplay } from './terminal-display.js';

/** Shows a run while it goes: redrawn on a terminal, as lines in a log, or as JSON for a program. */
export interface Display extends RunObserver {
  /** Leaves the terminal clean for what is printed next. */
  close(): void;
}

export function createDisplay(terminal: Terminal, options: { json: boolean }): Display {
  if (options.json) return new JsonDisplay(terminal);
  const canRedraw = terminal.stdout.isTTY && terminal.env.TERM !== 'dumb';
  return canRedraw ? new TerminalDisplay(terminal) : new PlainDisplay(terminal);
}
