import { afterEach, expect, it, vi } from 'vitest';
import { Interrupts } from './interrupts.js';

const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
let now = 0;
vi.spyOn(performance, 'now').mockImplementation(() => now);
let interrupts: Interrupts;
afterEach(() => {
  interrupts.close();
  exit.mockClear();
  now = 0;
});

const send = (signal: NodeJS.Signals) => process.emit(signal, signal);

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('the first %s asks the command to end', (signal) => {
  interrupts = new Interrupts();
  expect(interrupts.first.aborted).toBe(false);
  send(signal);
  expect(interrupts.first.aborted).toBe(true);
  expect(exit).not.toHaveBeenCalled();
});

it('a second Ctrl-C ends it at once, a second report of the same press or of a lost terminal does not', () => {
  interrupts = new Interrupts();
  const last = vi.fn();
  interrupts.beforeExit(last);
  send('SIGHUP');
  send('SIGINT');
  now = 10_000;
  send('SIGHUP');
  expect(exit).not.toHaveBeenCalled();
  send('SIGINT');
  expect(last).toHaveBeenCalledOnce();
  expect(exit).toHaveBeenCalledOnce();
});
