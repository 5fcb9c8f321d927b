import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
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

/** What `weft lr sweep --json` says of a run that has ended. */
interface Facts {
  readonly runId: string;
  readonly status: string;
  readonly step: number;
  readonly learningRate: number;
  readonly score: number | null;
  readonly givenUp: string | null;
}

const lines = (text: string) =>
  text.split('\n').flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : []));
const endedRuns = (text: string): Facts[] => lines(text).filter(({ type }) => type === 'runEnded');

/**
 * What sweeps promise to real processes.
 *
 * @param redisUrl where logs and queue are kept; files of the home without it.
 */
export function sweepSuite(place: string, redisUrl?: () => string): void {
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

  const start = (workers: number) => {
    const store = redisUrl === undefined ? [] : ['--redis', redisUrl()];
    return home.start('lr', 'sweep', file, '--local', String(workers), ...store);
  };
  const runsOf = () => {
    const directory = join(home.path, 'runs');
    return existsSync(directory) ? readdirSync(directory).toSorted() : [];
  };
  /** Every row says when its step was committed, so that a run that was repeated would show. */
  const rowsOf = (runId: string) => readFileSync(join(home.runDirectory(runId), 'metrics.jsonl'), 'utf8');
  const allRows = () => new Map(runsOf().map((runId) => [runId, rowsOf(runId)]));

  describe(`a sweep with its queue in ${place}`, () => {
    it('that is killed in the middle goes on, repeats no finished run, and fits', async () => {
      const first = start(2);
      while (endedRuns(first.stdout).length < 3 && first.process.exitCode === null) await sleep(20);
      await first.killAll();
      const finished = endedRuns(first.stdout).map(({ runId }) => runId);
      const rows = new Map(finished.map((runId) => [runId, rowsOf(runId)]));
      expect(finished.length).toBeGreaterThanOrEqual(3);
      expect(finished.length).toBeLessThan(9);

      const said = await start(2).ended;
      expect(said.stderr).toBe('');
      expect(said.code).toBe(0);
      expect(runsOf()).toHaveLength(9);
      for (const [runId, before] of rows) expect(rowsOf(runId), runId).toBe(before);
      for (const runId of runsOf()) expect(home.metrics(runId).map(({ step }) => step)).toHaveLength(12);

      const summary = lines(said.stdout).find(({ type }) => type === 'sweepSummary');
      const runs: Facts[] = summary.runs;
      expect(runs.map(({ status }) => status)).toEqual(Array(9).fill('finished'));
      for (const { score } of runs) expect(score).toBeGreaterThan(0);
      expect(summary.law.statistics.points).toBe(3);
      expect(summary.predictions).toHaveLength(1);
      for (const name of ['runs.csv', 'fit.json', 'fit.svg'])
        expect(existsSync(join(summary.directory, name)), name).toBe(true);
    });

    // The rest does not depend on where the queue is kept.
    if (redisUrl !== undefined) return;

    it('that is finished says the same again at once', async () => {
      const before = allRows();
      const said = await start(1).ended;
      expect(said.code).toBe(0);
      expect(allRows()).toEqual(before);
    });

    it('outlives the command that launched it: killed, the coordinator goes on, fits, and keeps the result', async () => {
      await using cluster = await Cluster.make();
      const sweepFile = join(cluster.home.path, 'sweep.yaml');
      await writeFile(sweepFile, SWEEP);
      await mkdir(join(cluster.home.path, 'data'));
      await symlink(join(repository, '.weft/data/demo'), join(cluster.home.path, 'data/demo'));
      cluster.coordinator();
      await cluster.worker();
      await cluster.worker();
      await cluster.ready(2);
      const command = cluster.home.start('lr', 'sweep', sweepFile);
      while (endedRuns(command.stdout).length < 2 && command.process.exitCode === null) await sleep(20);
      await command.killAll();
      expect(endedRuns(command.stdout).length).toBeLessThan(9);

      const directory = join(cluster.home.path, 'sweeps');
      const [id = ''] = lines(command.stdout).flatMap(({ type, sweepId }) => (type === 'sweep' ? [sweepId] : []));
      while (!existsSync(join(directory, id, 'fit.svg'))) await sleep(50);
      expect(JSON.parse(readFileSync(join(directory, id, 'fit.json'), 'utf8')).provenance.runs).toHaveLength(9);
      const again = await cluster.weft('lr', 'sweep', sweepFile, '--json');
      expect(again.stderr).toBe('');
      expect(lines(again.stdout).find(({ type }) => type === 'sweepSummary').runs).toHaveLength(9);
    });

    it('with a scale more trains only what is new', async () => {
      const before = allRows();
      await writeFile(file, SWEEP.replace('learningRates', `${ANOTHER_SCALE}learningRates`));
      const said = await start(2).ended;
      expect(said.stderr).toBe('');
      expect(said.code).toBe(0);
      expect(runsOf()).toHaveLength(12);
      for (const [runId, rows] of before) expect(rowsOf(runId), runId).toBe(rows);
      expect(endedRuns(said.stdout)).toHaveLength(12);
    });

    it('gives up what is hopeless, says why, and does not try it again', async () => {
      const one = SWEEP.replace(/ {2}- \{ name: [bc].*\n/g, '')
        .replace('steps: 12', 'steps: 400')
        .replace('everySteps: 4', 'everySteps: 1000')
        .replace('earlyStop: null', 'earlyStop: { afterPart: 0.05, worseBy: 0.1 }');
      await writeFile(file, one.replace('name: tiny', 'name: hopeless'));
      const said = await start(1).ended;
      const [best, ...others] = endedRuns(said.stdout);
      expect(best).toMatchObject({ learningRate: 3e-2, status: 'finished', step: 400 });
      expect(others.map(({ learningRate }) => learningRate)).toEqual([5, 1e-9]);
      for (const { status, step, score, givenUp } of others) {
        expect({ status, score }).toEqual({ status: 'stopped', score: null });
        expect(step).toBeGreaterThanOrEqual(5);
        expect(step).toBeLessThan(400);
        expect(givenUp).not.toBeNull();
      }
      expect(said.stdout).toMatch(/a at 1e-9 is given up: at step \d+ its loss is \d+ % above the best of its scale/);
      expect(said.stderr).toContain('1 rate with a loss cannot enclose an optimum');
      const before = allRows();
      const again = await start(1).ended;
      expect(endedRuns(again.stdout)).toHaveLength(3);
      expect(allRows()).toEqual(before);
    });
  });
}
