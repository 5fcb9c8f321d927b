import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, repository } from './weft.js';

const SWEEP = `
name: tiny
recipe: debugNano
run:
  steps: 12
  workers: 1
  globalBatchSize: 4
  microbatchSize: 4
  checkpoint: { everySteps: 4, keepLast: 1 }
  engine: { threadsPerWorker: 1 }
  evaluation: { sequencesPerSource: 4 }
scales:
  - { name: a, run: { model: { decoder: { width: 8, depth: 1, feedForwardWidth: 16 } } } }
  - { name: b, run: { model: { decoder: { width: 16, depth: 1, feedForwardWidth: 32 } } } }
  - { name: c, run: { model: { decoder: { width: 32, depth: 1, feedForwardWidth: 64 } } } }
learningRates: [1.0e-9, 3.0e-2, 5.0]
metric: heldOutLoss
earlyStop: null
predict:
  - { name: d, run: { model: { decoder: { width: 64, depth: 1, feedForwardWidth: 128 } } } }
`;

const ANOTHER_SCALE = '  - { name: e, run: { model: { decoder: { width: 24, depth: 1, feedForwardWidth: 48 } } } }\n';

let home: Home;
let file: string;
beforeAll(async () => {
  home = await Home.make();
  file = join(home.path, 'sweep.yaml');
  await writeFile(file, SWEEP);
  await mkdir(join(home.path, 'data'));
  await symlink(join(repository, '.weft/data/demo'), join(home.path, 'data/demo'));
});
afterAll(() => home.remove());

interface Facts {
  readonly runId: string;
  readonly phase: string;
  readonly score: number | null;
}

const runsOf = () => {
  const directory = join(home.path, 'runs');
  return existsSync(directory) ? readdirSync(directory).toSorted() : [];
};
const lines = (text: string) => text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
/** The log of a run: nothing is ever taken out of it, so a run that was repeated would show. */
const logOf = (runId: string) => readFileSync(join(home.runDirectory(runId), 'events.jsonl'), 'utf8');
const hasLog = (runId: string) => existsSync(join(home.runDirectory(runId), 'events.jsonl'));
const hasFinished = (runId: string) => hasLog(runId) && logOf(runId).includes('"kind":"finished"');

describe('a sweep', () => {
  it('that is killed in the middle goes on, repeats no finished run, and fits', async () => {
    const first = home.start('lr', 'sweep', file, '--local', '2');
    const enough = () => runsOf().filter(hasFinished).length >= 3;
    while (!enough() && first.process.exitCode === null) await sleep(50);
    await first.killAll();
    const finished = new Map(
      runsOf()
        .filter(hasFinished)
        .map((runId) => [runId, logOf(runId)]),
    );
    expect(finished.size).toBeGreaterThanOrEqual(3);
    expect(finished.size).toBeLessThan(9);

    const said = await home.start('lr', 'sweep', file, '--local', '2').ended;
    expect(said.stderr).toBe('');
    expect(said.code).toBe(0);
    expect(runsOf()).toHaveLength(9);
    for (const [runId, log] of finished) expect(logOf(runId), runId).toBe(log);
    for (const runId of runsOf()) expect(home.metrics(runId).map(({ step }) => step)).toHaveLength(12);

    const summary = lines(said.stdout).find(({ type }) => type === 'sweepSummary');
    const runs: Facts[] = summary.runs;
    expect(runs.map(({ phase }) => phase)).toEqual(Array(9).fill('finished'));
    for (const { score } of runs) expect(score).toBeGreaterThan(0);
    expect(summary.law.statistics.points).toBe(3);
    expect(summary.predictions).toHaveLength(1);
    for (const name of ['runs.csv', 'fit.json', 'fit.svg'])
      expect(existsSync(join(summary.directory, name)), name).toBe(true);
  });

  it('that is finished says the same again at once', async () => {
    const before = new Map(runsOf().map((runId) => [runId, logOf(runId)]));
    const said = await home.start('lr', 'sweep', file, '--local', '1').ended;
    expect(said.code).toBe(0);
    expect(runsOf()).toHaveLength(9);
    for (const [runId, log] of before) expect(logOf(runId)).toBe(log);
  });

  it('with a scale more trains only what is new', async () => {
    await writeFile(file, SWEEP.replace('learningRates', `${ANOTHER_SCALE}learningRates`));
    const said = await home.start('lr', 'sweep', file, '--local', '2').ended;
    expect(said.stderr).toBe('');
    expect(said.code).toBe(0);
    expect(runsOf()).toHaveLength(12);
    expect(lines(said.stdout).filter(({ type }) => type === 'runEnded')).toHaveLength(12);
  });
});
