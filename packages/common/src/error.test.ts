import { setTimeout as wait } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { assertNever, errorCode, refuse, WeftError } from './error.js';

it('the sentence joins message and hint', () => {
  expect(new WeftError('not_found', 'recipe "x" is unknown').sentence).toBe('recipe "x" is unknown');
  const withHint = new WeftError('port_in_use', 'port 7070 is taken', { hint: 'choose another with --port' });
  expect(withHint.sentence).toBe('port 7070 is taken: choose another with --port.');
});

it('keeps the cause, and has none when none was given', () => {
  const cause = new Error('below');
  expect(new WeftError('internal', 'above', { cause }).cause).toBe(cause);
  expect('cause' in new WeftError('internal', 'above')).toBe(false);
});

it('whatever was thrown becomes a WeftError once', () => {
  const error = new WeftError('cancelled', 'stopped');
  expect(WeftError.from(error, 'unavailable')).toBe(error);
  const wrapped = WeftError.from(new TypeError('x is undefined'));
  expect(wrapped).toMatchObject({ code: 'internal', message: 'x is undefined', name: 'WeftError' });
  expect(wrapped.cause).toBeInstanceOf(TypeError);
  expect(WeftError.from('a string', 'unavailable')).toMatchObject({ code: 'unavailable', message: 'a string' });
});

it("maps what Node's aborted signals and timeouts throw", async () => {
  const aborted = await wait(1000, undefined, { signal: AbortSignal.abort() }).catch((thrown: unknown) => thrown);
  expect(WeftError.from(aborted)).toMatchObject({ code: 'cancelled', cause: aborted });
  const late = await wait(1000, undefined, { signal: AbortSignal.timeout(1) }).catch((thrown: unknown) => thrown);
  expect(WeftError.from((late as Error).cause)).toMatchObject({ code: 'deadline_exceeded' });
});

it.each([
  ['ENOSPC', 'failed_precondition', 'free space on its disk'],
  ['EACCES', 'failed_precondition', 'check the permissions of the file and who runs this process'],
  ['ENOENT', 'not_found', undefined],
  ['ECONNRESET', 'unavailable', undefined],
  ['ETIMEDOUT', 'deadline_exceeded', undefined],
  ['E_OF_THE_FUTURE', 'internal', undefined],
])('%s of the operating system is %s', (systemCode, code, hint) => {
  const thrown = Object.assign(new Error(`${systemCode}: write`), { code: systemCode });
  expect(WeftError.from(thrown)).toMatchObject({ code, hint, message: `${systemCode}: write`, cause: thrown });
});

it('is thrown in one line, with or without a hint', () => {
  expect(() => refuse('not_found', 'there is no run x', 'run weft ls')).toThrow(
    new WeftError('not_found', 'there is no run x', { hint: 'run weft ls' }),
  );
  expect(() => refuse('internal', 'lost')).toThrow('lost');
});

it('is recognised by class and, when asked, by code', () => {
  const error: unknown = new WeftError('cancelled', 'stopped');
  expect(WeftError.is(error)).toBe(true);
  expect(WeftError.is(error, 'cancelled')).toBe(true);
  expect(WeftError.is(error, 'internal')).toBe(false);
  expect(WeftError.is(new Error('stopped'))).toBe(false);
});

it('an unhandled case says its value', () => {
  const impossible = { kind: 'new' } as unknown as never;
  expect(() => assertNever(impossible)).toThrow('a case was not handled: {"kind":"new"}');
});

it('a code from outside is one of the list, or internal', () => {
  expect(errorCode('corrupt_data')).toBe('corrupt_data');
  expect(errorCode('from_the_future')).toBe('internal');
});
