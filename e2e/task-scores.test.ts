import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EvaluationFolder } from '@weft/evaluation';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryCluster, tinyConfig } from './memory-cluster.js';
import { Home } from './weft.js';

const STEPS = 4;
const SCORED = 2;
const config = tinyConfig(
  ...[`steps=${STEPS}`, 'workers=2', 'checkpoint.everySteps=2', 'checkpoint.keepLast=9'],
  ...['evaluation.tasks=demo', 'evaluation.sequencesPerSource=20', 'evaluation.shots=0,1'],
  ...[`evaluation.tasksEverySteps=${SCORED}`, 'evaluation.examplesPerTask=3'],
);
let home: Home;
let run: string;
let cluster: MemoryCluster;

beforeAll(async () => {
  home = await Home.make();
  run = join(home.path, 'run');
  cluster = await MemoryCluster.open(2, config, run);
  for (const outcome of await cluster.train(1, 1, { kind: 'fresh' }))
    expect(outcome).toMatchObject({ status: 'fulfilled' });
});
afterAll(async () => {
  await cluster.close();
  await home.remove();
});

describe('the scores of tasks', () => {
  it('are taken where they are due and after the last step, with a folder that shows what was asked', async () => {
    expect([...cluster.taskScores.keys()]).toEqual([SCORED, STEPS]);
    const { scores } = cluster.taskScores.get(STEPS)!;
    expect(scores.map(({ task, shots }) => `${task} ${shots}`)).toEqual(
      ['demo-captions', 'demo-questions', 'demo-choices', 'demo-words'].flatMap((task) => [`${task} 0`, `${task} 1`]),
    );
    for (const { score, examples } of scores) expect([Number.isFinite(score), examples]).toEqual([true, 3]);
    const { directory } = EvaluationFolder.ofRun(run, STEPS);
    expect((await readdir(directory)).toSorted()).toEqual(['examples', 'results.json', 'results.svg']);
    const file = join(directory, 'examples/demo-captions-1-shot.jsonl');
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    const results = lines.map((line): { prompt: string; shots: number } => JSON.parse(line));
    for (const { prompt, shots } of results)
      expect(prompt).toMatch(shots === 1 ? /^<image> A photo of .+\n<image> A photo of$/ : /^<image> A photo of$/);
    expect(results.map(({ shots }) => shots)).toContain(1);
  });

  it('of an old checkpoint are those that the run had at its step, although one process takes them and not two ranks', async () => {
    const { scores } = cluster.taskScores.get(SCORED)!;
    const { stdout } = await home.weft(
      'eval',
      run,
      '--step',
      `${SCORED}`,
      '--output',
      join(home.path, 'out'),
      '--json',
      '--set',
      'engine.threadsPerWorker=1',
    );
    expect(JSON.parse(stdout)).toMatchObject({
      type: 'evaluation',
      step: SCORED,
      scores,
      directory: join(home.path, 'out'),
    });
  });
});
