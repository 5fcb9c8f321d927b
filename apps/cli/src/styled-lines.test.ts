import picocolors from 'picocolors';
import { describe, expect, it } from 'vitest';
import { clip, lineWidth, paint, span, summaryRows, table } from './styled-lines.js';

const colors = picocolors.createColors(true);
const plain = picocolors.createColors(false);

describe('a line', () => {
  it('is cut before it is painted, so that no escape sequence is cut', () => {
    const line = [span('loss ', 'dim'), span('3.1415', 'bold')];
    expect(paint(clip(line, 8), colors)).toBe(colors.dim('loss ') + colors.bold('3.') + colors.bold('…'));
    expect(clip(line, 11)).toBe(line);
    for (let columns = 0; columns <= 11; columns++) expect(lineWidth(clip(line, columns))).toBe(columns);
  });

  it('counts characters, not code units', () => {
    expect(lineWidth([span('𝛈×')])).toBe(2);
    expect(paint(clip([span('𝛈𝛈𝛈')], 2), plain)).toBe('𝛈…');
  });
});

describe('a table', () => {
  it('aligns its columns and leaves no blanks at the end of a line', () => {
    const lines = table(
      [{ title: 'run' }, { title: 'step', align: 'right' }, { title: 'phase' }],
      [
        ['a-long-name', '7/60', span('running', 'cyan')],
        ['b', '60/60', 'finished'],
      ],
    );
    expect(lines.map((line) => paint(line, plain))).toEqual([
      'run           step  phase',
      'a-long-name   7/60  running',
      'b            60/60  finished',
    ]);
  });

  it('aligns names and values', () => {
    expect(
      summaryRows([
        ['a', '1'],
        ['longer', '2'],
      ]).map((line) => paint(line, plain)),
    ).toEqual(['  a       1', '  longer  2']);
  });
});
