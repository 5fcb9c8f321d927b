import { parseConfigText, resolveSweep } from '@weft/config';
import { parseMetricsRow } from '@weft/contracts';
import { recipeInput } from '@weft/recipes';
import {
  endedSweepRun,
  exampleMoeLayer,
  exampleStep,
  exampleSweep,
  exampleSweepLoss,
  exampleSweepScale,
} from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { isSettled, refuseFailures } from './drive-runs.js';
import { scoreOf } from './score.js';
import { summariseSweep } from './summarise-sweep.js';
import { planSweep } from './sweep-plan.js';
import { parseSweepRecord, sweepRecord } from './sweep-record.js';

const recipe = [{ value: recipeInput('debugNano'), where: () => 'recipe debugNano' }];
const plan = async (text = exampleSweep) =>
  planSweep(resolveSweep(parseConfigText(text, 'sweep.yaml')), recipe, 'sweep.yaml');

describe('a plan', () => {
  it('has every rate of every scale, the middle one first, with weight decay and names that follow', async () => {
    const { runs, id } = await plan();
    expect(runs).toHaveLength(15);
    expect(runs.slice(0, 5).map(({ learningRate }) => learningRate)).toEqual([4e-3, 8e-3, 2e-3, 16e-3, 1e-3]);
    expect(runs[0]?.config).toMatchObject({
      recipe: 'demo-small',
      seed: 1,
      steps: 20,
      optimizer: { learningRate: 4e-3, weightDecay: 4e-4 },
    });
    expect(runs[0]?.tokens).toBe(20 * 4 * 64);
    expect(id).toMatch(/^demo-[0-9a-f]{10}$/);
  });

  it('has the same id however its fields are ordered and its runs queue, and another for another run', async () => {
    const { id } = await plan();
    expect((await plan(exampleSweep.replace('{ steps: 20 }', '{ queue: { priority: 3 }, steps: 20 }'))).id).toBe(id);
    expect((await plan(`${exampleSweep}metric: gradNorm\n`)).id).toBe(id);
    expect((await plan(exampleSweep.replace('steps: 20', 'steps: 21'))).id).not.toBe(id);
  });

  it('has the id that earlier versions gave it, so that runs which finished under them are not repeated', async () => {
    expect((await plan()).id).toBe('demo-7b570933b5');
    expect((await plan(exampleSweep.replace('run: { steps: 20 }', 'run: { steps: 20, minWorkers: 1 }'))).id).toBe(
      'demo-7b570933b5',
    );
  });

  it('keeps the keys of its runs when rates are added', async () => {
    const keys = new Set((await plan()).runs.map(({ key }) => key));
    const more = await plan(exampleSweep.replace('1.6e-2]', '1.6e-2, 3.2e-2]'));
    expect(more.runs.filter(({ key }) => !keys.has(key)).map(({ learningRate }) => learningRate)).toEqual([
      0.032, 0.032, 0.032,
    ]);
    const reused = new Map([[more.runs[0]?.key ?? '', 'run-7']]);
    expect(parseSweepRecord(more.id, JSON.stringify(sweepRecord(more, reused))).runs[0]).toMatchObject({
      reusedRunId: 'run-7',
    });
  });

  it.each([
    ['metric: heldOutLoss', 'metric is heldOutLoss, but no sequences are held out in the scale small'],
    ['metric: moe.droppedShare', 'metric is moe.droppedShare, but there are no experts in the scale small'],
  ])('is refused when its runs would not measure %s', async (line, message) => {
    await expect(plan(`${exampleSweep}${line}\n`)).rejects.toThrow(message);
  });

  it('is refused when a source that it is judged by takes no part', async () => {
    const run = 'run: { steps: 20, evaluation: { sequencesPerSource: 4 }, data: { weights: "1:1:0" } }';
    const text = `${exampleSweep.replace('run: { steps: 20 }', run)}metric: heldOutLoss.`;
    await expect(plan(`${text}text\n`)).rejects.toThrow('but the weight of text is 0 in the scale small');
    expect((await plan(`${text}captioned\n`)).runs).toHaveLength(15);
    for (const source of ['books', 'constructor'])
      await expect(plan(`${text}${source}\n`)).rejects.toThrow(
        `metric is heldOutLoss.${source}, but there is no source ${source} in the scale small`,
      );
  });

  it('compares by scores of tasks that its runs have, the higher the better', async () => {
    const tasks = 'run: { steps: 20, evaluation: { tasks: demo, shots: [0, 8], sequencesPerSource: 4 } }';
    const text = `${exampleSweep.replace('run: { steps: 20 }', tasks)}metric: eval.`;
    for (const metric of ['demo-captions.0', 'average.8', 'textAverage.8'])
      expect((await plan(`${text}${metric}\n`)).sweep).toMatchObject({
        metric: `eval.${metric}`,
        higherIsBetter: true,
      });
    const refusals = {
      'coco.8': 'metric is eval.coco.8, but there is no task coco in the scale small',
      'average.4': 'metric is eval.average.4, but evaluation.shots is 0,8 in the scale small',
      average: 'metric is eval.average, but evaluation.shots is 0,8',
    };
    for (const [metric, sentence] of Object.entries(refusals))
      await expect(plan(`${text}${metric}\n`)).rejects.toThrow(sentence);
    await expect(plan(`${exampleSweep}metric: eval.average.8\n`)).rejects.toThrow(
      'but there are no tasks to score in the scale small',
    );
    expect((await plan(`${text}average.8\n`)).id).not.toBe((await plan()).id);
  });

  it('compares by a source of its own, and keys its runs by the sources and their order', async () => {
    const own = (sources: string) =>
      `run: { steps: 20, evaluation: { sequencesPerSource: 4 }, data: { sources: ${sources}, weights: { art: 1, essays: 1 } } }`;
    const text = (sources: string) =>
      `${exampleSweep.replace('run: { steps: 20 }', own(sources))}metric: heldOutLoss.essays\n`;
    const keys = async (sources: string) => (await plan(text(sources))).runs.map(({ key }) => key);
    const first = await keys('{ art: captioned, essays: text }');
    expect(first).toHaveLength(15);
    expect(await keys('{ essays: text, art: captioned }')).not.toEqual(first);
    expect(await keys('{ art: interleaved, essays: text }')).not.toEqual(first);
  });

  it('is refused when two of its scales are of one size', async () => {
    await expect(
      plan(exampleSweep.replace(exampleSweepScale('large', 64), exampleSweepScale('large', 32))),
    ).rejects.toThrow(/the scales middle and large are one: N is \d+ in both/);
  });

  it('names the scale whose run is refused', async () => {
    await expect(plan(exampleSweep.replace('width: 32', 'widht: 32'))).rejects.toThrow(
      'sweep.yaml: the scale middle: unknown field "model.decoder.widht", did you mean model.decoder.width?',
    );
  });
});

describe('a summary', () => {
  it('is a law with predictions', async () => {
    const whole = await plan(`${exampleSweep}predict:\n${exampleSweepScale('huge', 128)}\n`);
    const { report, predictions } = summariseSweep(
      whole,
      whole.runs.map((run) => endedSweepRun(run, exampleSweepLoss(run))),
    );
    expect(report?.law.exponents[0]).toBeCloseTo(-0.2, 6);
    expect(report?.optima).toHaveLength(3);
    expect(predictions).toMatchObject([{ target: 'learningRate', outside: [{ side: 'above' }] }]);
  });

  it('is a refusal where an optimum lies on the edge, and says that nothing is lost', async () => {
    const whole = await plan();
    const { report, refusal } = summariseSweep(
      whole,
      whole.runs.map((run) => endedSweepRun(run, exampleSweepLoss(run, 20))),
    );
    expect(report).toBeNull();
    expect(refusal?.message).toContain('the lowest loss lies on the edge of the grid');
    expect(refusal?.sentence).toMatch(
      /add rates above 0\.016\.\nChange the file, and run the command again: runs that have finished are not repeated\.$/,
    );
  });

  it('is by the highest score where higher is better', async () => {
    const whole = await plan(`${exampleSweep}metric: tokensPerSecond\nhigherIsBetter: true\n`);
    const runs = whole.runs.map((run) => {
      const { view, losses } = endedSweepRun(run, 1);
      return { planned: run, view, losses, score: 100 - exampleSweepLoss(run), givenUp: undefined };
    });
    const { report } = summariseSweep(whole, runs);
    expect(report?.law.exponents[0]).toBeCloseTo(-0.2, 6);
    expect(report?.metric).toEqual({ name: 'tokensPerSecond', better: 'higher' });
    expect(report?.optima?.[0]?.score).toBeCloseTo(98, 6);
  });

  it('is the optima alone where there are too few scales for a law', async () => {
    const two = await plan(exampleSweep.replace(`${exampleSweepScale('large', 64)}\n`, ''));
    const summary = summariseSweep(
      two,
      two.runs.map((run) => endedSweepRun(run, exampleSweepLoss(run))),
    );
    expect(summary).toMatchObject({ report: null, refusal: undefined });
    expect(summary.optima).toHaveLength(2);
  });

  it('waits for runs that failed', async () => {
    const { runs } = await plan();
    const broken = runs.map((run, i) =>
      endedSweepRun(run, 2, i === 3 ? { status: 'failed', reason: 'the disk is full' } : {}),
    );
    expect(() => refuseFailures(broken)).toThrow('1 of 15 runs failed');
  });
});

describe('a run of a sweep', () => {
  it('is judged by what its metrics file says of experts', () => {
    const moe = {
      layers: [exampleMoeLayer({ droppedShare: 0.25 }), exampleMoeLayer({ droppedShare: 0.5 })],
      bytesSent: 1,
      bytesReceived: 1,
      waitingSeconds: 0,
    };
    const metrics = parseMetricsRow(JSON.stringify({ ...exampleStep(1), moe }));
    expect(metrics?.moe).toEqual(moe);
    expect(scoreOf(metrics === undefined ? [] : [metrics], 'moe.droppedShare', 1)).toBe(0.375);
  });

  it('has a score once it has finished and all its rows are written', async () => {
    const [planned] = (await plan()).runs;
    if (planned === undefined) return expect.fail('there is no run');
    expect(endedSweepRun(planned, 2.5)).toMatchObject({ score: 2.5, givenUp: undefined });
    expect(endedSweepRun(planned, null).score).toBeNull();
    const stopped = endedSweepRun(planned, 2.5, { status: 'stopped', step: 12, reason: 'stopped as asked' });
    expect(stopped).toMatchObject({ score: null, givenUp: 'stopped as asked' });
    expect([isSettled(stopped), isSettled(endedSweepRun(planned, 2, { status: 'running', step: 3 }))]).toEqual([
      true,
      false,
    ]);
  });
});
