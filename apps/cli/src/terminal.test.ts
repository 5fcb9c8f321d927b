import { describe, expect, it } from 'vitest';
import { asTyped, commandName, wantsColor } from './terminal.js';

describe('colour', () => {
  it('follows the terminal, unless NO_COLOR or FORCE_COLOR say otherwise', () => {
    expect(wantsColor({}, true)).toBe(true);
    expect(wantsColor({}, false)).toBe(false);
    expect(wantsColor({ NO_COLOR: '1', FORCE_COLOR: '1' }, true)).toBe(false);
    expect(wantsColor({ NO_COLOR: '' }, true)).toBe(true);
    expect(wantsColor({ FORCE_COLOR: '1' }, false)).toBe(true);
    expect(wantsColor({ TERM: 'dumb' }, true)).toBe(false);
  });
});

describe('the name of the command', () => {
  it('is what the reader can type', () => {
    expect(commandName({}, '/usr/bin/weft')).toBe('weft');
    expect(commandName({ npm_command: 'exec' }, '/repo/node_modules/.bin/weft')).toBe('npx weft');
    expect(commandName({}, '/repo/apps/cli/bin/weft.js')).toBe('npx weft');
  });

  it('replaces the short one where a sentence mentions a command, and nowhere else', () => {
    const terminal = { commandName: 'npx weft' };
    expect(asTyped('run weft data fetch demo, then weft ls', terminal)).toBe(
      'run npx weft data fetch demo, then npx weft ls',
    );
    for (const text of ['npx weft ls', 'this weft reads version 1', '/home/weft ls', 'weft lsof'])
      expect(asTyped(text, terminal)).toBe(text);
  });
});
