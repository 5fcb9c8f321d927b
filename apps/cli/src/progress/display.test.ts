import { RunProgress } from '@weft/client';
import { exampleRun, exampleStep, FakeClock, timeMsOfStep } from '@weft/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { recordedTerminal, screenOf } from '../testing/fixtures.js';
import { createDisplay, PlainDisplay, TerminalDisplay } from './display.js';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const display of open.splice(0)) display.close();
});

describe('a terminal', () => {
  const setUp = (columns: number) => {
    const terminal = recordedTerminal({ isTTY: true, columns });
    const clock = new FakeClock(timeMsOfStep(0));
    const display = new TerminalDisplay(terminal, clock);
    open.push(display);
    const progress = new RunProgress(exampleRun());
    const take = async (step: number) => {
      await clock.advance(timeMsOfStep(step) - clock.nowMs());
      progress.addStep(exampleStep(step));
      display.step(progress);
    };
    return { terminal, display, progress, take };
  };

  it.each([20, 40, 80])('holds one block at the bottom and the events above it, %i columns wide', async (columns) => {
    const { terminal, display, take } = setUp(columns);
    for (let step = 1; step <= 30; step++) {
      await take(step);
      if (step === 10) display.event('worker lost');
    }
    const screen = screenOf(terminal.written.out, columns);
    expect(screen[0]).toBe('worker lost');
    expect(screen).toHaveLength(5);
    expect(screen[2]).toContain('30/60');
  });

  it('clears wrapped lines when the terminal was made narrower', async () => {
    const { terminal, display, take } = setUp(80);
    await take(1);
    await take(2);
    const before = terminal.written.out.length;
    Object.assign(terminal.stdout, { columns: 30 });
    display.event('x');
    // 40 + 50 + … characters in 30 columns: the head, bar, loss and sequence lines take two, two or three rows each.
    const rows = Number.parseInt(terminal.written.out.slice(before + '\x1b['.length), 10);
    expect(rows).toBeGreaterThan(6);
  });

  it('writes over what it drew instead of clearing it first, so that nothing blinks', async () => {
    const { terminal, take } = setUp(80);
    await take(1);
    const before = terminal.written.out.length;
    await take(2);
    const update = terminal.written.out.slice(before);
    expect(update.indexOf('\x1b[J')).toBe(update.lastIndexOf('\n') + 1);
    expect(
      update
        .split('\n')
        .slice(0, -1)
        .every((line) => line.endsWith('\x1b[K')),
    ).toBe(true);
  });

  it('leaves the last state standing when it closes', async () => {
    const { terminal, display, progress, take } = setUp(80);
    await take(60);
    display.refresh(progress);
    display.close();
    terminal.stdout.write('done\n');
    const screen = screenOf(terminal.written.out, 80);
    expect(screen.at(-1)).toBe('done');
    expect(screen.join('\n')).toContain('60/60  100 %');
  });
});

describe('a log', () => {
  it('gets the first, the last and the round steps', () => {
    const terminal = recordedTerminal();
    const display = createDisplay(terminal, { json: false });
    const progress = new RunProgress(exampleRun({ steps: 58 }));
    for (let step = 1; step <= 58; step++) {
      progress.addStep(exampleStep(step));
      display.step(progress, exampleStep(step));
    }
    const steps = [...terminal.written.out.matchAll(/^step (\d+)/gm)].map(([, step]) => Number(step));
    expect(steps).toEqual([1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 58]);
    expect(terminal.written.out).not.toContain('\x1b');
  });

  it('gets a line at least every half minute', async () => {
    const terminal = recordedTerminal();
    const clock = new FakeClock(timeMsOfStep(0));
    const display = new PlainDisplay(terminal, clock);
    const progress = new RunProgress(exampleRun({ steps: 200_000 }));
    for (let step = 1; step <= 31; step++) {
      await clock.advance(2000);
      progress.addStep(exampleStep(step));
      display.step(progress, exampleStep(step));
    }
    expect([...terminal.written.out.matchAll(/^step (\d+)/gm)].map(([, step]) => step)).toEqual(['1', '16', '31']);
  });
});

describe('a log of a run that waits', () => {
  const waiting = (reason: string) => new RunProgress(exampleRun({ status: 'queued', reason }));
  const setUp = () => {
    const terminal = recordedTerminal();
    const clock = new FakeClock();
    return { terminal, clock, display: new PlainDisplay(terminal, clock) };
  };

  it('says once what the run waits for, when it waits long', async () => {
    const { terminal, clock, display } = setUp();
    display.refresh(waiting('it waits for 2 more workers'));
    await clock.advance(2000);
    display.refresh(waiting('it waits for 1 more worker'));
    await clock.advance(2000);
    expect(terminal.written.out).toBe('');
    await clock.advance(10_000);
    display.refresh(waiting('it waits for 1 more worker'));
    await clock.advance(10_000);
    expect(terminal.written.out).toBe('queued: it waits for 1 more worker\n');
  });

  it('says nothing when the run begins soon, or nobody looks any more', async () => {
    const { terminal, clock, display } = setUp();
    display.refresh(waiting('it waits for 2 more workers'));
    display.refresh(new RunProgress(exampleRun()));
    await clock.advance(10_000);
    display.refresh(waiting('it lost its last worker'));
    display.close();
    await clock.advance(10_000);
    expect(terminal.written.out).toBe('');
    expect(clock.sleeping).toBe(0);
  });
});

describe('a program', () => {
  it('gets one JSON object per line', () => {
    const terminal = recordedTerminal();
    const display = createDisplay(terminal, { json: true });
    const progress = new RunProgress(exampleRun());
    progress.addStep(exampleStep(1));
    display.step(progress, exampleStep(1));
    display.event('worker lost');
    const lines = terminal.written.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({ type: 'step', step: 1, steps: 60, loss: exampleStep(1).loss });
    expect(lines[1]).toEqual({ type: 'event', message: 'worker lost' });
  });
});
