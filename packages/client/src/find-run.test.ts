import { describe, expect, it } from 'vitest';
import { chooseRun } from './find-run.js';

const runs = ['debug-tiny-20261123-0558-k3f9', 'debug-tiny-20261123-0601-x2y7', 'mm1-3b-20261201-1200-aaaa'];

describe('the run a person means', () => {
  it('is named by its whole id, its beginning, its end, or as the last', () => {
    expect(chooseRun('mm1-3b-20261201-1200-aaaa', runs)).toBe(runs[2]);
    expect(chooseRun('mm1', runs)).toBe(runs[2]);
    expect(chooseRun('x2y7', runs)).toBe(runs[1]);
    expect(chooseRun('last', runs)).toBe(runs[2]);
  });

  it('must be one', () => {
    expect(() => chooseRun('debug', runs)).toThrow('2 runs fit "debug"');
    expect(() => chooseRun('last', [])).toThrow('there is no run yet');
  });

  it('is guessed when it is mistyped', () => {
    expect(() => chooseRun('mm1-3b-20261201-1200-aaab', runs)).toThrow(
      expect.objectContaining({ code: 'not_found', hint: `did you mean ${runs[2]}; weft ls lists them all` }),
    );
    expect(() => chooseRun('zzz', runs)).toThrow(expect.objectContaining({ hint: 'see weft ls' }));
  });
});
