import { type Line, type Style, span } from '../styled-lines.js';

/**
 * One finding. `fatal` makes training impossible, `missing` makes something else impossible, `note` is optional or a fact.
 */
export interface Check {
  readonly name: string;
  readonly status: 'ok' | 'note' | 'missing' | 'fatal';
  /** What was found, without a full stop. */
  readonly finding: string;
  /** What to do about it, an imperative sentence without a full stop. */
  readonly hint?: string;
}

const MARKS: Readonly<Record<Check['status'], readonly [mark: string, style: Style]>> = {
  ok: ['✓', 'green'],
  note: ['·', 'dim'],
  missing: ['!', 'yellow'],
  fatal: ['✗', 'red'],
};

/** The report of `weft doctor`: a line per check, and its hint below. */
export function renderChecks(checks: readonly Check[]): Line[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks.flatMap(({ name, status, finding, hint }) => {
    const [mark, style] = MARKS[status];
    const line: Line = [span(`${mark} `, style), span(`${name.padEnd(width)}  `, 'dim'), span(finding)];
    return hint === undefined ? [line] : [line, [span(`${' '.repeat(width + 4)}→ ${hint}`, 'yellow')]];
  });
}

/** The last line of the report. */
export function verdict(checks: readonly Check[]): Line {
  const fatal = checks.filter(({ status }) => status === 'fatal').length;
  const missing = checks.filter(({ status }) => status === 'missing').length;
  if (fatal > 0) return [span('This machine cannot train yet: follow the arrows.', 'red')];
  if (missing > 0) return [span('This machine can train; the arrows say what would make it better.', 'yellow')];
  return [span('Everything is in place.', 'green')];
}
