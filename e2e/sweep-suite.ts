import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { endedRuns, type Home, jsonLines, repository, until } from './weft.js';

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

/**
 * What sweeps promise to real processes.
 *
 * @param redisUrl where logs and queue are kept; files of the home without it.
 */
export function sweepSuite(place: string, redisUrl?: () => string): void {
  let cluster: Cluster;
  let home: Home;
  let file: string;
  beforeAll(async () => {
    cluster = await Cluster.make(redisUrl?.());
    home = cluster.home;
    file = join(home.path, 'sweep.yaml');
    await writeFile(file, SWEEP);
    await mkdir(join(home.path, 'data'));
    await symlink(join(repository, '.weft/data/demo'), join(home.path, 'data/demo'));
  });
  afterAll(() => cluster.remove());

  const start = (workers: number) => home.start('lr', 'sweep', file, '--local', String(workers));
  const runsOf = () => readdirSync(join(home.path, 'runs')).toSorted();
  /** Every row says when its step was committed, so that a run that was repeated would show. */
  const rowsOf = (runId: string) => readFileSync(join(home.runDirectory(runId), 'metrics.jsonl'), 'utf8');
  const allRows = () => new Map(runsOf().map((runId) => [runId, rowsOf(runId)]));

  describe(`a sweep with its queue in ${place}`, () => {
    it('that is killed in the middle goes on, even without the command that launched it, repeats no finished run, and fits', async () => {
      cluster.coordinator();
      await cluster.ready(0);
      const { command: first, ids } = await cluster.startPaused(['lr', 'sweep', file], 9, 4);
      const finished = await cluster.killAfterRuns(first, 3);
      const rows = new Map(finished.map((runId) => [runId, rowsOf(runId)]));
      expect(finished.length).toBeGreaterThanOrEqual(3);
      expect(finished.length).toBeLessThan(9);

      cluster.coordinator();
      await cluster.worker();
      await cluster.worker();
      await cluster.ready(2);
      await cluster.resumePaused(ids);
      const [id = ''] = jsonLines(first.stdout).flatMap(({ type, sweepId }) => (type === 'sweep' ? [sweepId] : []));
      const directory = join(home.path, 'sweeps', id);
      await until(
        () => 'the figure of the sweep',
        () => existsSync(join(directory, 'fit.svg')),
      );
      expect(runsOf()).toHaveLength(9);
      for (const [runId, before] of rows) expect(rowsOf(runId), runId).toBe(before);
      for (const runId of runsOf()) expect(home.metrics(runId).map(({ step }) => step)).toHaveLength(12);
      expect(JSON.parse(readFileSync(join(directory, 'fit.json'), 'utf8')).provenance.runs).toHaveLength(9);

      const said = await home.start('lr', 'sweep', file).ended;
      expect(said.stderr).toBe('');
      expect(said.code).toBe(0);
      const summary = jsonLines(said.stdout).find(({ type }) => type === 'sweepSummary');
      expect(summary.directory).toBe(directory);
      const runs: Facts[] = summary.runs;
      expect(runs.map(({ status }) => status)).toEqual(Array(9).fill('finished'));
      for (const { score } of runs) expect(score).toBeGreaterThan(0);
      expect(summary.law.statistics.points).toBe(3);
      expect(summary.predictions).toHaveLength(1);
      for (const name of ['runs.csv', 'fit.json', 'fit.svg'])
        expect(existsSync(join(directory, name)), name).toBe(true);
      await cluster.killAll();
    });

    // The rest does not depend on where the queue is kept.
    if (redisUrl !== undefined) return;

    it('that is finished says the same again at once', async () => {
      const before = allRows();
      const said = await start(1).ended;
      expect(said.code).toBe(0);
      expect(allRows()).toEqual(before);
    });

    it('with a scale more trains only what is new', async () => {
      const before = allRows();
      await writeFile(file, SWEEP.replace('learningRates', `${ANOTHER_SCALE}learningRates`));
      const said = await start(2).ended;
      expect(said.stderr).toBe('');
      expect(said.code).toBe(0);
      expect(runsOf()).toHaveLength(12);
      for (const [runId, rows] of before) expect(rowsOf(runId), runId).toBe(rows);
      expect(endedRuns<Facts>(said.stdout)).toHaveLength(12);
    });

    it('gives up what is hopeless and not needed for the fit, says why, and does not try it again', async () => {
      // From the middle outwards: the best rate is known before the last, with two between them.
      const one = SWEEP.replace(/ {2}- \{ name: [bc].*\n/g, '')
        .replace('[1.0e-9, 3.0e-2, 5.0]', '[3.0e-2, 5.0, 6.0, 7.0]')
        .replace('steps: 12', 'steps: 600')
        .replace('everySteps: 4', 'everySteps: 600')
        .replace('earlyStop: null', 'earlyStop: { afterPart: 0.05, worseBy: 0.1 }');
      await writeFile(file, one.replace('name: tiny', 'name: hopeless'));
      const said = await start(1).ended;
      const ended = endedRuns<Facts>(said.stdout);
      expect(ended.map(({ learningRate }) => learningRate)).toEqual([5, 6, 3e-2, 7]);
      for (const { status, step } of ended.slice(0, 3))
        expect({ status, step }).toEqual({ status: 'finished', step: 600 });
      const { status, step, score, givenUp } = ended[3]!;
      expect({ status, score }).toEqual({ status: 'stopped', score: null });
      expect(step).toBeGreaterThanOrEqual(5);
      expect(step).toBeLessThan(600);
      expect(givenUp).not.toBeNull();
      expect(said.stdout).toMatch(/a at 7 is given up: at step \d+ its loss is \d+ % above the best of its scale/);
      expect(said.stderr).toContain('lies on the edge of the grid, at its lowest rate 0.03');
      const before = allRows();
      const again = await start(1).ended;
      expect(endedRuns(again.stdout)).toHaveLength(4);
      expect(allRows()).toEqual(before);
    });
  });
}
