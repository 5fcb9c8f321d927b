import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RunLog, type TemporaryDirectory, temporaryDirectory, timeAt } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';

let home: TemporaryDirectory;
let runId: string;

const line = (step: number, level: string, message: string, fields: object = {}) =>
  `${JSON.stringify({ level, time: timeAt(step), processId: 1, hostName: 'h', version: '0', role: 'x', ...fields, message })}\n`;

beforeAll(async () => {
  home = await temporaryDirectory();
  const log = new RunLog().assigned(1, 1, 'here').committed(1, 20);
  await log.write(home.path);
  runId = log.runId;
  const logs = join(home.path, 'logs', '2026-11-23T055800-000Z');
  await mkdir(logs, { recursive: true });
  await writeFile(join(logs, 'coordinator.log'), line(1, 'info', 'it begins', { runId }));
  await writeFile(
    join(logs, 'worker-1.log'),
    line(2, 'info', 'trains', { runId, rank: 0, state: 'fresh' }) + line(4, 'warn', 'a slow decision', { seconds: 7 }),
  );
  await writeFile(
    join(logs, 'worker-0.log'),
    line(3, 'info', 'trains', { runId, rank: 1 }) +
      line(5, 'error', 'it broke', { error: { code: 'internal', message: 'no', hint: 'try', stack: 'at x' } }),
  );
});
afterAll(() => home.remove());

async function weft(...argv: string[]) {
  const terminal = recordedTerminal({ columns: 200 });
  const exitCode = await main([...argv, '--home', home.path], terminal);
  return { exitCode, ...terminal.written };
}

describe('weft logs', () => {
  it('prints what all processes wrote, in the order of time, as plain lines', async () => {
    const { exitCode, out, err } = await weft('logs', 'last');
    expect([exitCode, err]).toEqual([0, '']);
    expect(out.trimEnd().split('\n')).toEqual([
      `${timeAt(1)} info  coordinator it begins`,
      `${timeAt(2)} info  rank 0      trains  state=fresh`,
      `${timeAt(3)} info  rank 1      trains`,
      `${timeAt(4)} warn  rank 0      a slow decision  seconds=7`,
      `${timeAt(5)} error rank 1      it broke  error="internal: no: try"`,
    ]);
  });

  it('prints one rank, or what is bad enough', async () => {
    const messages = async (...argv: string[]) =>
      (await weft('logs', 'last', '--json', ...argv)).out
        .trimEnd()
        .split('\n')
        .map((text) => JSON.parse(text).message);
    expect(await messages('--rank', '1')).toEqual(['trains', 'it broke']);
    expect(await messages('--level', 'warn')).toEqual(['a slow decision', 'it broke']);
    expect(await messages('--rank', '0', '--level', 'warn')).toEqual(['a slow decision']);
  });

  it('gives programs the whole line, and which process wrote it', async () => {
    const lines = (await weft('logs', 'last', '--json')).out.trimEnd().split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
      ...{ process: 'worker-0', rank: 1, level: 'error', error: { stack: 'at x' } },
    });
  });

  it('says in one sentence that a run has no logs here', async () => {
    const other = new RunLog('debug-tiny-20261123-0600-aaaa').assigned(1, 1, 'there').committed(1, 2);
    await other.write(home.path);
    const { exitCode, out, err } = await weft('logs', 'aaaa');
    expect([exitCode, out]).toEqual([0, '']);
    expect(err).toMatch(/^No process of .*logs wrote about debug-tiny-20261123-0600-aaaa: .*\.\n$/);
  });
});

it('an export writes its file once, and never over another', async () => {
  const output = join(home.path, 'run.csv');
  const argv = ['export', runId, '--format', 'csv', '--output', output];
  expect(await weft(...argv)).toMatchObject({
    exitCode: 0,
    out: expect.stringMatching(/run\.csv: 20 steps, \d+ curves\.\n/),
  });
  const before = await readFile(output, 'utf8');
  expect(before.split('\n')).toHaveLength(22);
  const { exitCode, err } = await weft(...argv);
  expect([exitCode, err]).toEqual([1, expect.stringContaining('run.csv exists, and is not overwritten')]);
  expect(await readFile(output, 'utf8')).toBe(before);
  expect((await readdir(home.path)).filter((name) => name.includes('unfinished'))).toEqual([]);
});
