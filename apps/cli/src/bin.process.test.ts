import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { WEFT_SCRIPT } from './local-processes.js';

function weft(...words: string[]) {
  const { status, stderr } = spawnSync(process.execPath, [WEFT_SCRIPT, ...words], { encoding: 'utf8' });
  return { status, stderr: stderr.trimEnd() };
}

describe('the weft command', () => {
  it.each([
    [['queue', 'move'], "missing required argument 'run'"],
    [['worker', '--colour'], "unknown option '--colour'"],
    [['worker', '--coordinator', 'nowhere'], '--coordinator must be host:port, such as 127.0.0.1:7070, not "nowhere"'],
    [['expert-worker', '--gpus', 'x'], '--gpus must be a list of different GPUs'],
    [['coordinator', '--port', 'x'], '--port must be a port'],
  ])('%j is a wrong command line: one sentence and exit code 2, in every app', (words, sentence) => {
    const { status, stderr } = weft(...words);
    expect(stderr).toMatch(/^error: [^\n]*$/);
    expect(stderr).toContain(sentence);
    expect(status).toBe(2);
  });

  it('can be read by a Node of any age, which then says what it needs', () => {
    const source = readFileSync(WEFT_SCRIPT, 'utf8').replace(/^\s*(\/\/|\/\*\*|#!).*$/gm, '');
    expect(source).not.toMatch(/\?\.|\?\?|\bcatch \{|^(import|export) |^(const .*= )?await /m);
  });
});
