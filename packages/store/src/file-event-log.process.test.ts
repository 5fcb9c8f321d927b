import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { FileEventLog } from './file-event-log.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Another process runs the built package. */
beforeAll(() => {
  execFileSync('npx', ['tsc', '-b', 'packages/store'], { cwd: root, stdio: 'inherit' });
});

let directory: TemporaryDirectory;
let path = '';
beforeEach(async () => {
  directory = await temporaryDirectory();
  path = join(directory.path, 'events.jsonl');
});
afterEach(() => directory.remove());

/** Appends for ever, two records at a time, and prints the last sequence after each append was acknowledged. */
const writer = `
  import { FileEventLog } from '@weft/store';
  const log = await FileEventLog.open(process.argv[1]);
  console.log(log.lastSequence);
  for (;;) console.log(await log.append(log.lastSequence, [{ process: process.pid }, { text: 'x'.repeat(2000) }]));
`;

function startWriter() {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', writer, path], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let acknowledged = -1;
  const lines = createInterface({ input: child.stdout });
  const written = (count: number) =>
    new Promise<void>((resolve) => {
      lines.on('line', () => acknowledged >= count && resolve());
    });
  lines.on('line', (line) => {
    acknowledged = Number(line);
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    return acknowledged;
  };
  return { child, written, kill };
}

it('kill -9 in the middle of writing loses nothing that was acknowledged, and the next process takes over', async () => {
  let last = 0;
  for (let round = 1; round <= 4; round++) {
    const process = startWriter();
    await process.written(last + 20 * round);
    const acknowledged = await process.kill();
    const log = await FileEventLog.open(path);
    expect(log.lastSequence).toBeGreaterThanOrEqual(acknowledged);
    expect(log.lastSequence % 2).toBe(0);
    let count = 0;
    for await (const { sequence } of log.read()) expect(sequence).toBe(++count);
    expect(count).toBe(log.lastSequence);
    last = count;
    await log.close();
  }
});

it('a second process is refused while the first lives, with an error that names the first', async () => {
  const first = startWriter();
  await first.written(2);
  await expect(FileEventLog.open(path)).rejects.toMatchObject({
    code: 'failed_precondition',
    message: `the event log ${path} is in use by process ${first.child.pid}`,
    hint: 'stop that process first',
  });
  await first.kill();
});
