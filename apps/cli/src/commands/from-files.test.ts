import { hostname } from 'node:os';
import { mapSources } from '@weft/common';
import { RunLog, temporaryDirectory, timeAt } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { trainedOn } from './resume.js';

async function weft(home: string, ...argv: string[]) {
  const terminal = recordedTerminal({ columns: 100 });
  const exitCode = await main([...argv, '--home', home], terminal);
  return { exitCode, ...terminal.written };
}

const interrupted = () =>
  new RunLog('run-a').assigned(1, 1, 'elsewhere').committed(1, 20).checkpoint(20).committed(21, 23);
const finished = () =>
  new RunLog('run-b')
    .committed(1, 60)
    .checkpoint(60)
    .add({ kind: 'finished', time: timeAt(60), step: 60 });

describe('without a coordinator', () => {
  it('ls lists the runs of the home, the newest first', async () => {
    await using home = await temporaryDirectory();
    expect((await weft(home.path, 'ls')).out).toBe('No runs yet. Try weft launch debugTiny --local 2\n');
    await interrupted().write(home.path);
    await finished().write(home.path);
    const { out } = await weft(home.path, 'ls');
    const lines = out.trimEnd().split('\n');
    expect(lines[1]).toMatch(/^run-b {2}debugTiny {2}finished +60\/60 {2}1\.5000 {2}\d+ d ago$/);
    expect(lines[2]).toMatch(/^run-a {2}debugTiny {2}interrupted +23\/60 {2}2\.7907 {2}\d+ d ago$/);
    const { runs } = JSON.parse((await weft(home.path, 'ls', '--json')).out);
    expect(runs).toMatchObject([
      { runId: 'run-b', loss: 1.5 },
      { runId: 'run-a', status: 'interrupted' },
    ]);
  });

  it('status says what happened and what to do', async () => {
    await using home = await temporaryDirectory();
    await interrupted().write(home.path);
    const { exitCode, out } = await weft(home.path, 'status', 'run-a');
    expect(exitCode).toBe(0);
    for (const fact of [
      /status +interrupted/,
      /because +it was running when its coordinator ended/,
      /step +23 of 60 \(38 %\)/,
      /sequences +captioned 92, interleaved 69, text 23/,
      /checkpoint +.*step-00000020/,
      /weft resume run-a {2}go on from step 20/,
    ])
      expect(out).toMatch(fact);
    const status = JSON.parse((await weft(home.path, 'status', 'run-a', '--json')).out);
    expect(status).toMatchObject({ status: 'interrupted', step: 23, tokensPerSecond: 512, etaSeconds: null });
  });

  it('watch prints how a run ended, with the exit code that fits', async () => {
    await using home = await temporaryDirectory();
    await interrupted().write(home.path);
    await finished().write(home.path);
    expect(await weft(home.path, 'watch', 'run-b')).toMatchObject({
      exitCode: 0,
      out: expect.stringContaining('finished'),
    });
    const { exitCode, out } = await weft(home.path, 'watch', 'run-a', '--json');
    expect(exitCode).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ type: 'summary', runId: 'run-a', status: 'interrupted', step: 23 });
  });

  it('stop and resume say why they cannot, and what can be done', async () => {
    await using home = await temporaryDirectory();
    await interrupted().write(home.path);
    await finished().write(home.path);
    expect((await weft(home.path, 'stop', 'run-a')).err).toBe(
      'error: run run-a is not running: it is interrupted at step 23 of 60: weft resume run-a goes on with it.\n',
    );
    expect((await weft(home.path, 'resume', 'run-b')).err).toBe(
      'error: run run-b is finished: all of its 60 steps are trained: train it further with weft resume run-b --steps 120, the new total.\n',
    );
    expect((await weft(home.path, 'resume', 'run-a')).err).toMatch(
      /^error: no coordinator is running for .*: weft resume run-a --local 2 to train on this machine, /,
    );
    expect((await weft(home.path, 'resume', 'run-a', '--local', '--expert-workers', '2')).err).toBe(
      'error: resume: expertWorkers is 2, but model.decoder.moe is null: there are no experts to hold\n',
    );
  });

  it('resume starts local processes only for a run that trained here', () => {
    expect(trainedOn(hostname(), interrupted().records)).toBe(false);
    expect(trainedOn('elsewhere', interrupted().records)).toBe(true);
    expect(trainedOn('elsewhere', interrupted().assigned(2, 24, 'far').records)).toBe(false);
    expect(trainedOn('elsewhere', new RunLog().records)).toBe(false);
  });
});

describe('the ledger', () => {
  it('shows what was consumed, step by step', async () => {
    await using home = await temporaryDirectory();
    await interrupted().write(home.path);
    const { out } = await weft(home.path, 'data', 'ledger', 'run-a');
    expect(out).toMatch(/steps +23/);
    expect(out).toMatch(/captioned +82 \(its share is 81\.8\)/);
    const { out: step } = await weft(home.path, 'data', 'ledger', 'run-a', '--step', '3');
    expect(step).toMatch(/Step 3 of run-a consumed 8 sequences/);
    expect(step).toMatch(/captioned +its numbers 7 to 10/);
    expect((await weft(home.path, 'data', 'ledger', 'run-a', '--step', '24')).err).toBe(
      'error: step 24 is not in the ledger of run-a: ask for a step from 1 to 23.\n',
    );
  });

  it('is checked, roll-backs included', async () => {
    await using home = await temporaryDirectory();
    const resumed = interrupted().add({
      kind: 'resumed',
      time: timeAt(23),
      fromStep: 20,
      checkpointDirectory: 'checkpoints/step-20',
      skippedCheckpoints: [],
      workers: 2,
      steps: 60,
      reason: 'it was resumed',
    });
    await resumed.committed(21, 60, 2).write(home.path);
    expect(await weft(home.path, 'data', 'ledger', 'run-a', '--check')).toMatchObject({
      exitCode: 0,
      out: 'The ledger is complete: 60 steps, 480 sequences, each consumed exactly once.\n',
    });
  });

  it('names a step that took what was not its own', async () => {
    await using home = await temporaryDirectory();
    const log = interrupted();
    const last = log.records.at(-1);
    if (last?.kind !== 'committed') throw new Error('the log ends with a step');
    const ranges = mapSources(last.entry.ranges, ({ first, end }, source) =>
      source === 'text' ? { first: first + 1, end: end + 1 } : { first, end },
    );
    log.records[log.records.length - 1] = { ...last, entry: { ...last.entry, ranges } };
    await log.write(home.path);
    const { exitCode, out } = await weft(home.path, 'data', 'ledger', 'run-a', '--check');
    expect(exitCode).toBe(1);
    expect(out).toMatch(/step 23 took other text sequences than the mixture gives it/);
    expect(
      JSON.parse((await weft(home.path, 'data', 'ledger', 'run-a', '--check', '--json')).out).problems,
    ).toHaveLength(2);
  });
});
