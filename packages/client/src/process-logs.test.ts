import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Home } from '@weft/files';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { parseLogLine, processLogFiles, RunLogs } from './process-logs.js';

const RUN = 'debug-tiny-20261123-0558-k3f9';
const OTHER = 'debug-tiny-20261123-0600-aaaa';

const line = (second: number, message: string, fields: object = {}, level = 'info') =>
  `${JSON.stringify({ level, time: `2026-11-23T05:58:${String(second).padStart(2, '0')}.000Z`, role: 'worker', processId: 7, hostName: 'here', version: '0.1.0', ...fields, message })}\n`;

async function homeWith(files: Readonly<Record<string, string>>) {
  const folder = await temporaryDirectory();
  const logs = join(folder.path, 'logs', '2026-11-23T055800-000Z');
  await mkdir(logs, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(logs, name), text);
  return { home: new Home(folder.path), logs, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

async function read(logs: RunLogs) {
  const found: string[] = [];
  for await (const { process, rank, message } of logs.read()) found.push(`${process} ${rank ?? '-'} ${message}`);
  return found;
}

describe('the logs of a run', () => {
  it('are the lines of every process about it, in the order of time', async () => {
    await using at = await homeWith({
      'coordinator.log':
        line(1, 'queued', { runId: RUN }) + line(2, 'other', { runId: OTHER }) + line(9, 'ended', { runId: RUN }),
      'worker-0.log':
        line(0, 'is up', { workerId: 'w0' }) +
        line(4, 'trains', { runId: RUN, rank: 1 }) +
        'W0000 00:00:1 a library warns\n' +
        line(6, 'compiled') +
        line(10, 'released', { runId: RUN, discardState: true }) +
        line(11, 'the coordinator is away'),
      'worker-1.log':
        line(3, 'trains another', { runId: OTHER, rank: 0 }) +
        line(5, 'trains', { runId: RUN, rank: 0 }) +
        line(7, 'slow', {}, 'warn'),
    });
    const logs = new RunLogs(at.home, { runId: RUN });
    expect(await read(logs)).toEqual([
      'coordinator - queued',
      'worker-0 1 trains',
      'worker-0 1 W0000 00:00:1 a library warns',
      'worker-1 0 trains',
      'worker-0 1 compiled',
      'worker-1 0 slow',
      'coordinator - ended',
      'worker-0 1 released',
    ]);
    expect([...logs.workerIds]).toEqual(['w0']);
  });

  it('go on where they ended: lines that were completed, files that are new', async () => {
    await using at = await homeWith({
      'worker-0.log': line(1, 'trains', { runId: RUN, rank: 0 }) + line(2, 'compiled').slice(0, 20),
    });
    const logs = new RunLogs(at.home, { runId: RUN });
    expect(await read(logs)).toEqual(['worker-0 0 trains']);
    expect(await read(logs)).toEqual([]);
    await appendFile(join(at.logs, 'worker-0.log'), line(2, 'compiled').slice(20));
    await writeFile(join(at.logs, 'coordinator.log'), line(3, 'stopping', { runId: RUN }));
    expect(await read(logs)).toEqual(['worker-0 0 compiled', 'coordinator - stopping']);
  });

  it('begin near the end of long files where that is asked for', async () => {
    const many = Array.from({ length: 100 }, (_, at) => line(at % 60, `line ${at}`, { runId: RUN })).join('');
    await using at = await homeWith({ 'coordinator.log': many });
    const last = await read(new RunLogs(at.home, { runId: RUN, tailBytes: 1000 }));
    expect(last.length).toBeLessThan(10);
    expect(last.at(-1)).toBe('coordinator - line 99');
  });

  it('of a home without logs are empty', async () => {
    await using folder = await temporaryDirectory();
    expect(await read(new RunLogs(new Home(folder.path), { runId: RUN }))).toEqual([]);
    expect(await processLogFiles(new Home(folder.path))).toEqual([]);
  });
});

it('a line tells its level, in whatever form it is', () => {
  expect(parseLogLine(line(1, 'x', { a: 1 }, 'warn').trim())).toEqual({
    time: '2026-11-23T05:58:01.000Z',
    level: 'warn',
    message: 'x',
    fields: { a: 1 },
  });
  const levels = ['F0000 00:00:1 check failed', 'error: no data', 'TypeError: x is not a function', 'plain', '{"torn'];
  expect(levels.map((text) => parseLogLine(text).level)).toEqual(['fatal', 'error', 'error', 'none', 'none']);
});
