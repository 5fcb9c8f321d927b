import { writeFile } from 'node:fs/promises';
import { RunLog, temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';

async function weft(home: string, ...argv: string[]) {
  const terminal = recordedTerminal({ columns: 120 });
  const exitCode = await main([...argv, '--home', home], terminal);
  return { exitCode, ...terminal.written };
}

/** A run of so many steps, whose losses are higher by `more` from step 11 on. */
async function write(home: string, runId: string, steps: number, config: object, more = 0): Promise<void> {
  const directory = await new RunLog(runId).committed(1, steps).write(home);
  await writeFile(`${directory}/config.json`, JSON.stringify(config));
  const rows = Array.from({ length: steps }, (_, at) => ({
    step: at + 1,
    loss: 5 - at / 10 + (at >= 10 ? more : 0),
    learningRate: 1e-3,
    gradNorm: 1,
    tokensPerSecond: 100,
    sequences: { captioned: 4, interleaved: 3, text: 1 },
    seconds: { data: 0, compute: 1, communication: 0, apply: 0 },
    generation: 1,
    time: '2026-01-01T00:00:00.000Z',
  }));
  await writeFile(`${directory}/metrics.jsonl`, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

it('diff shows the fields that differ, what came of both, and from which step on their losses do', async () => {
  await using home = await temporaryDirectory();
  await write(home.path, 'run-a', 20, { seed: 1, optimizer: { learningRate: 0.001 } });
  await write(home.path, 'run-b', 30, { seed: 1, optimizer: { learningRate: 0.002 } }, 0.5);
  const { exitCode, out } = await weft(home.path, 'diff', 'run-a', 'run-b');
  expect(exitCode).toBe(0);
  for (const fact of [
    /^ +run-a +run-b *$/m,
    /^optimizer\.learningRate +0\.001 +0\.002 *$/m,
    /^step +20 of 60 +30 of 60 *$/m,
    /^The losses differ from step 11 on: 4\.0000 and 4\.5000; at step 20, the last that both have trained: 3\.1000 and 3\.6000\.$/m,
  ])
    expect(out).toMatch(fact);
  expect(out).not.toContain('seed');
  expect(JSON.parse((await weft(home.path, 'diff', 'run-a', 'run-b', '--json')).out)).toMatchObject({
    runs: ['run-a', 'run-b'],
    fields: [{ name: 'optimizer.learningRate', values: ['0.001', '0.002'] }],
    losses: { steps: 20, firstDifference: { step: 11 }, last: { step: 20 } },
  });
});

it('diff says so when nothing differs, and when there is nothing to compare', async () => {
  await using home = await temporaryDirectory();
  await write(home.path, 'run-a', 3, { seed: 1 });
  await write(home.path, 'run-b', 5, { seed: 1 });
  const { out } = await weft(home.path, 'diff', 'run-a', 'run-b');
  expect(out).toContain('Both have the same configuration.\n');
  expect(out).toContain('The losses are equal, bit for bit, in the 3 steps that both have trained.\n');
  expect((await weft(home.path, 'diff', 'run-a', 'a')).err).toBe(
    'error: run-a and a both name the run run-a: name another run; weft ls lists them.\n',
  );
  await new RunLog('run-c').committed(1, 2).write(home.path);
  const { exitCode, err } = await weft(home.path, 'diff', 'run-a', 'run-c');
  expect(exitCode).toBe(1);
  expect(err).toMatch(
    /^error: the configuration of run run-c is not on this machine: .*config\.json cannot be read: compare/,
  );
});
