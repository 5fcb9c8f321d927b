import { appendFile, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunRecord } from '@weft/coordination';
import { Home } from '@weft/files';
import { FileEventLog } from '@weft/store';
import { exampleStep, RunLog, temporaryDirectory, timeAt, timeMsOfStep } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { listRunIds, readMetrics, readRun, readRuns } from './run-files.js';
import { logsInFiles } from './run-logs.js';
import { readLedgerOverview } from './run-state-file.js';

it('a file in the place of the folder of runs is an error, not a home without runs', async () => {
  await using home = await temporaryDirectory();
  expect(await listRunIds(home.path)).toEqual([]);
  await writeFile(join(home.path, 'runs'), 'a file');
  await expect(listRunIds(home.path)).rejects.toThrow(/runs/);
});

describe('the files of a run', () => {
  it('show a run that was under way as interrupted, with its last step', async () => {
    await using home = await temporaryDirectory();
    const log = new RunLog().assigned(1, 1, 'here').committed(1, 20).checkpoint(20).committed(21, 23);
    const directory = await log.write(home.path);
    expect(await readRun(home.path, log.runId)).toEqual({
      runId: log.runId,
      recipe: 'debugTiny',
      status: 'interrupted',
      reason: 'it was running when its coordinator ended',
      step: 23,
      steps: 60,
      workers: 2,
      worldSize: 0,
      generation: 1,
      checkpointStep: 20,
      directory,
      createdAtMs: timeMsOfStep(0),
      updatedAtMs: timeMsOfStep(23),
      loss: exampleStep(23).loss,
      priority: 0,
      queuePosition: null,
      expectedStartMs: null,
      parent: null,
      failure: null,
      failedAttempts: 0,
      maxAttempts: 1,
    });
    expect((await readMetrics(directory, { onlyTail: false })).map(({ step }) => step)).toHaveLength(23);
  });

  it('show how a run ended', async () => {
    await using home = await temporaryDirectory();
    const failed = new RunLog('failed-run').committed(1, 3).add({
      kind: 'failed',
      time: timeAt(3),
      step: 3,
      failure: { code: 'corrupt_data', message: 'a shard is torn', hint: 'index the data again' },
    });
    await failed.write(home.path);
    await new RunLog('finished-run')
      .committed(1, 60)
      .add({ kind: 'finished', time: timeAt(60), step: 60 })
      .write(home.path);
    expect(await readRun(home.path, 'failed-run')).toMatchObject({
      status: 'failed',
      reason: 'a shard is torn',
      failure: { code: 'corrupt_data', hint: 'index the data again' },
    });
    expect(await readRun(home.path, 'finished-run')).toMatchObject({ status: 'finished', step: 60 });
  });

  it('of a long log are read to the end once: afterwards only what is new', async () => {
    await using home = await temporaryDirectory();
    const log = new RunLog('long').committed(1, 1000);
    const path = join(await log.write(home.path), 'events.jsonl');
    const first = await readRun(home.path, 'long');
    expect(first.step).toBe(1000);
    // What stands at the beginning is not looked at any more.
    const file = await open(path, 'r+');
    await file.write('x', 5);
    await file.close();
    expect(await readRun(home.path, 'long')).toEqual(first);

    const [home2, longer] = [await temporaryDirectory(), new RunLog('long').committed(1, 1003)];
    const whole = await readFile(join(await longer.write(home2.path), 'events.jsonl'), 'utf8');
    await home2[Symbol.asyncDispose]();
    // The lines of one append know its end: those of the longer log are an append of their own.
    const news = whole
      .trimEnd()
      .split('\n')
      .slice(-3)
      .map((line) => `${line}\n`);
    await appendFile(path, news.join(''));
    expect(await readRun(home.path, 'long')).toMatchObject({ step: 1003, steps: 60, createdAtMs: first.createdAtMs });
    await appendFile(path, '{"sequence": 1005, "rec');
    expect((await readRun(home.path, 'long')).step).toBe(1003);
  });

  it('of another log in the same place are read anew', async () => {
    await using home = await temporaryDirectory();
    const directory = await new RunLog('long').committed(1, 1000).write(home.path);
    expect((await readRun(home.path, 'long')).step).toBe(1000);
    const state = await readFile(join(directory, 'state.json'), 'utf8');
    await rm(directory, { recursive: true });
    await new RunLog('long').committed(1, 1100).write(home.path);
    await writeFile(join(directory, 'state.json'), state);
    expect((await readRun(home.path, 'long')).step).toBe(1100);
    await writeFile(join(directory, 'state.json'), '{"weftVersion": 3');
    expect((await readRun(home.path, 'long')).step).toBe(1100);
  });

  it('are read anew where what was kept of them was edited, or their log lost its end', async () => {
    await using home = await temporaryDirectory();
    const directory = await new RunLog('long').committed(1, 1000).write(home.path);
    expect((await readRun(home.path, 'long')).step).toBe(1000);
    const path = join(directory, 'state.json');
    const edited = (await readFile(path, 'utf8')).replace(
      '"step":1000,"furthestStep":1000',
      '"step":9,"furthestStep":9',
    );
    expect(edited).toContain('"step":9,');
    await writeFile(path, edited);
    expect((await readRun(home.path, 'long')).step).toBe(1000);
    await rm(join(directory, 'events.jsonl'));
    await new RunLog('long').committed(1, 600).write(home.path);
    expect((await readRun(home.path, 'long')).step).toBe(600);
  });

  it('have an overview of their ledger that is not read again either, also after a roll-back', async () => {
    await using directory = await temporaryDirectory();
    const home = new Home(directory.path);
    const overview = () => readLedgerOverview(home, 'long', logsInFiles(directory.path)('long'));
    const append = async (records: readonly RunRecord[]) => {
      const file = await FileEventLog.open(home.eventsFile('long'));
      await file.append(file.lastSequence, records);
      await file.close();
    };
    const resumed = (fromStep: number): RunRecord => ({
      ...{ kind: 'resumed', time: timeAt(fromStep), fromStep, checkpointDirectory: null, skippedCheckpoints: [] },
      ...{ workers: 2, steps: 9000, reason: 'again' },
    });
    const log = new RunLog('long').committed(1, 3000);
    // The ranges of a source follow one another, so its last one ends after all that was consumed.
    const whole = (records: readonly RunRecord[]) => {
      const last = records.flatMap((record) => (record.kind === 'committed' ? [record.entry] : [])).slice(-10);
      const { step: lastStep, ranges } = last.at(-1)!;
      return {
        ...{ lastStep, last },
        consumed: Object.fromEntries(Object.entries(ranges).map(([source, { end }]) => [source, end])),
      };
    };
    const shown = async () => {
      const { recent = [], consumed, lastStep } = (await overview()) ?? {};
      return { lastStep, consumed, last: recent.slice(-10) };
    };
    await append(log.records);
    expect(await shown()).toEqual(whole(log.records));
    expect(JSON.parse(await readFile(home.ledgerFile('long'), 'utf8')).mark.sequence).toBe(3001);
    await append([resumed(2500)]);
    await append(log.add(resumed(2500)).committed(2501, 2600).records.slice(-100));
    expect(await shown()).toEqual(whole(log.records));
    expect((await overview())?.resumes).toBe(1);
    // So far back that only the whole log tells what is left.
    await append([resumed(10)]);
    expect(await overview()).toBeUndefined();
  });

  it('are read although the last line is torn, and although another run is damaged', async () => {
    await using home = await temporaryDirectory();
    await new RunLog('good').committed(1, 2).write(home.path, { tail: '{"sequence": 9, "rec' });
    await new RunLog('bad').write(home.path, { tail: 'not JSON\n' });
    expect(await listRunIds(home.path)).toEqual(['bad', 'good']);
    const { runs, unreadable } = await readRuns(home.path);
    expect(runs.map(({ runId, step }) => [runId, step])).toEqual([['good', 2]]);
    expect(unreadable.map(({ runId, error }) => [runId, error.code])).toEqual([['bad', 'corrupt_data']]);
    expect(unreadable[0]?.error.message).toMatch(/bad\/events\.jsonl is damaged at line 2/);
  });

  it('are listed in the order the runs were launched, whatever their names', async () => {
    await using home = await temporaryDirectory();
    await new RunLog('b', { launchedAt: timeAt(3) }).write(home.path);
    await new RunLog('c', { launchedAt: timeAt(1) }).write(home.path);
    await new RunLog('a', { launchedAt: timeAt(2) }).write(home.path);
    expect(await listRunIds(home.path)).toEqual(['c', 'a', 'b']);
  });

  it('of a long run are read from their end', async () => {
    await using home = await temporaryDirectory();
    const directory = await new RunLog().committed(1, 1000).write(home.path);
    const tail = await readMetrics(directory, { onlyTail: true });
    expect(tail.length).toBeLessThan(1000);
    expect(tail.at(-1)?.step).toBe(1000);
  });

  it('may be missing', async () => {
    await using home = await temporaryDirectory();
    expect(await listRunIds(home.path)).toEqual([]);
    expect(await readMetrics(home.path, { onlyTail: true })).toEqual([]);
    await expect(readRun(home.path, 'none')).rejects.toMatchObject({ code: 'not_found' });
  });
});
