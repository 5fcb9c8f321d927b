import type { MetricsRow, RunView } from '@weft/contracts';
import picocolors from 'picocolors';
import type { Terminal } from '../terminal.js';

/** A run in the middle of its life; tests change what they are about. */
export function exampleRun(changes: Partial<RunView> = {}): RunView {
  return {
    runId: 'debug-tiny-20261123-0558-k3f9',
    recipe: 'debugTiny',
    status: 'running',
    reason: 'every worker is ready',
    step: 0,
    steps: 60,
    workers: 2,
    worldSize: 2,
    generation: 1,
    checkpointStep: 0,
    directory: '/home/weft/runs/debug-tiny-20261123-0558-k3f9',
    createdAtMs: 1_000_000,
    updatedAtMs: 1_000_000,
    priority: 0,
    queuePosition: null,
    expectedStartMs: null,
    parent: null,
    failure: null,
    loss: null,
    failedAttempts: 0,
    maxAttempts: 1,
    ...changes,
  };
}

/** When step `step` of the example run was committed. */
export const timeMsOfStep = (step: number) => 1_000_000 + step * 2000;

/** Step `step` of a run whose loss falls and whose steps take two seconds each. */
export function exampleStep(step: number, changes: Partial<MetricsRow> = {}): MetricsRow {
  return {
    step,
    loss: 6 / (1 + step / 20),
    learningRate: 0.001,
    gradNorm: 1.5,
    tokensPerSecond: 512,
    sequences: { captioned: 4, interleaved: 3, text: 1 },
    seconds: { data: 0.1, compute: 1.6, communication: 0.2, apply: 0.1 },
    generation: 1,
    time: new Date(timeMsOfStep(step)).toISOString(),
    ...changes,
  };
}

/** A terminal that keeps what was written. */
export interface RecordedTerminal extends Terminal {
  readonly written: { out: string; err: string };
}

export function recordedTerminal(
  options: { isTTY?: boolean; columns?: number; env?: Terminal['env'] } = {},
): RecordedTerminal {
  const written = { out: '', err: '' };
  const { isTTY = false, columns = 80, env = {} } = options;
  const append = (to: 'out' | 'err', text: string) => {
    written[to] += text;
  };
  return {
    written,
    stdout: { write: (text) => append('out', text), isTTY, columns },
    stderr: { write: (text) => append('err', text), isTTY, columns },
    env,
    colors: picocolors.createColors(false),
    commandName: 'weft',
  };
}

const CONTROL = '\\u001b\\[(\\d*)([A-Z])';

/** What a terminal would show after the text was written: knows line feed, carriage return, cursor up and clear. */
export function screenOf(text: string, columns: number): string[] {
  const rows: string[][] = [[]];
  let row = 0;
  let column = 0;
  for (const token of text.match(new RegExp(`${CONTROL}|[\\s\\S]`, 'g')) ?? []) {
    const control = token.match(new RegExp(`^${CONTROL}$`));
    if (control?.[2] === 'A') row = Math.max(0, row - Number(control[1] || 1));
    else if (control?.[2] === 'J') rows.splice(row, Infinity, (rows[row] ?? []).slice(0, column));
    else if (token === '\r') column = 0;
    else if (token === '\n') [row, column] = [row + 1, 0];
    else {
      if (column === columns) [row, column] = [row + 1, 0];
      while (rows.length <= row) rows.push([]);
      rows[row]![column++] = token;
    }
    while (rows.length <= row) rows.push([]);
  }
  return rows.map((characters) => characters.join('')).filter((line, at) => line !== '' || at < rows.length - 1);
}
