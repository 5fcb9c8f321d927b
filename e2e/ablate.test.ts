import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { type Home, jsonLines, repository } from './weft.js';

const SMALL = [
  ...[
    '--recipe',
    'debugNano',
    '--steps',
    '4',
    '--workers',
    '1',
    '--shots',
    '0',
    '--only',
    'tokens=4',
    'image size=16 px',
  ],
  ...['--set', 'engine.backend=javascript', 'evaluation.examplesPerTask=2', 'evaluation.sequencesPerSource=4'],
];

/** Every run begins its encoder with that of a run before it. */
const STAGES = `
name: stages
recipe: debugNano
run:
  steps: 3
  workers: 1
  engine: { backend: javascript }
  evaluation: { sequencesPerSource: 4 }
first:
  encoder: { recipe: debugNano, run: { steps: 2, workers: 1, engine: { backend: javascript } } }
axes:
  encoder: { trained: { initFrom: { vision: first:encoder } }, random: }
`;

describe('an ablation', () => {
  let cluster: Cluster;
  let home: Home;
  beforeAll(async () => {
    cluster = await Cluster.make();
    home = cluster.home;
    await mkdir(join(home.path, 'data'));
    await symlink(join(repository, '.weft/data/demo'), join(home.path, 'data/demo'));
  });
  afterAll(() => cluster.remove());
  const runsOf = () => readdirSync(join(home.path, 'runs')).toSorted();
  const rowsOf = (runId: string) => readFileSync(join(home.runDirectory(runId), 'metrics.jsonl'), 'utf8');

  it('of connectors that is killed half-way goes on, repeats nothing, and ends in table and figure', async () => {
    const words = ['ablate', 'connector', ...SMALL, '--seeds', '2'];
    cluster.coordinator();
    await cluster.ready(0);
    const { command: first, ids } = await cluster.startPaused(words, 6, 2);
    const finished = await cluster.killAfterRuns(first, 3);
    const before = new Map(finished.map((runId) => [runId, rowsOf(runId)]));
    expect(finished.length).toBeGreaterThanOrEqual(3);
    expect(finished.length).toBeLessThan(6);

    cluster.coordinator();
    await cluster.worker();
    await cluster.worker();
    await cluster.ready(2);
    await cluster.resumePaused(ids);
    const second = await home.start(...words).ended;
    expect(second.stderr).toBe('');
    expect(second.code).toBe(0);
    expect(runsOf()).toHaveLength(6);
    for (const [runId, rows] of before) expect(rowsOf(runId), runId).toBe(rows);
    for (const runId of runsOf()) expect(home.metrics(runId).map(({ step }) => step)).toEqual([1, 2, 3, 4]);

    const { directory, cells } = jsonLines(second.stdout).find(({ type }) => type === 'gridSummary');
    expect(cells.map(({ labels }: { labels: string[] }) => labels[0])).toEqual([
      'average pooling',
      'attention pooling',
      'C-Abstractor',
    ]);
    for (const { values } of cells) expect(values['0-shot'].values).toHaveLength(2);
    expect(readFileSync(join(directory, 'table.md'), 'utf8')).toMatch(
      /\| C-Abstractor \| 4 \| 16 px \| [*\d.]+ ± [*\d.]+ \| [*\d.]+ ± [*\d.]+ \|/,
    );
    for (const name of ['table.csv', 'results.json', 'figure.svg'])
      expect(existsSync(join(directory, name))).toBe(true);
  });

  it('trains the runs that others begin from before them', async () => {
    const file = join(home.path, 'stages.yaml');
    await writeFile(file, STAGES);
    const output = await home.start('ablate', file).ended;
    expect(output.stderr).toBe('');
    expect(output.code).toBe(0);
    const { runs } = jsonLines(output.stdout).find(({ type }) => type === 'gridSummary');
    const [encoder, trained] = runs.map(({ runId }: { runId: string }) => runId);
    const config = JSON.parse(readFileSync(join(home.runDirectory(trained), 'config.json'), 'utf8'));
    expect(JSON.stringify(config)).toContain(`runs/${encoder}/checkpoints/step-00000002`);
    const timeOf = (runId: string, at: number) => jsonLines(rowsOf(runId)).at(at).time;
    expect(timeOf(trained, 0) > timeOf(encoder, -1)).toBe(true);
  });
});
