import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfigText, resolveGrid, resolveRunConfig, settingLayers } from '@weft/config';
import { Home } from '@weft/files';
import { recipe, recipeInput } from '@weft/recipes';
import { exampleRun, exampleStep, temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { driveRuns } from './drive-runs.js';
import { FIGURES, figureGrid } from './figures.js';
import { drivenGrid } from './grid-files.js';
import { type GridPlan, planGrid } from './grid-plan.js';
import { gridRecord, parseSweepRecord } from './sweep-record.js';

const TEXT = `
name: demo
recipe: debugNano
run: { steps: 4, evaluation: { sequencesPerSource: 4 } }
axes:
  model.connector.kind: [averagePool, attentionPool]
  tokens: { few: { model: { connector: { tokensPerImage: 1 } } }, many: { model: { connector: { tokensPerImage: 4 } } } }
seeds: [0, 1]
`;

const layersOf = async (name: string) => [{ value: recipeInput(name), where: () => `recipe ${name}` }];
const plan = (text = TEXT, ...settings: string[]) =>
  planGrid(resolveGrid(parseConfigText(text, 'grid.yaml')), layersOf, 'grid.yaml', {
    runs: settingLayers(settings),
    first: () => [],
  });

describe('the plan of a grid', () => {
  it('has every combination with every seed, a key for each, and an id that follows from them', async () => {
    const { id, runs, measures } = await plan();
    expect(runs.map(({ cell, seed }) => `${cell.join(' ')} ${seed}`)).toEqual([
      'averagePool few 0',
      'averagePool few 1',
      'averagePool many 0',
      'averagePool many 1',
      'attentionPool few 0',
      'attentionPool few 1',
      'attentionPool many 0',
      'attentionPool many 1',
    ]);
    expect(runs[4]?.config).toMatchObject({
      steps: 4,
      model: { connector: { kind: 'attentionPool', tokensPerImage: 1 } },
    });
    expect(new Set(runs.map(({ key }) => key)).size).toBe(8);
    expect(measures.map(({ title }) => title)).toEqual(['held-out loss']);
    expect((await plan(TEXT.replace('steps: 4', 'steps: 4, queue: { priority: 2 }'))).id).toBe(id);
    expect((await plan(TEXT, 'steps=5')).id).not.toBe(id);
  });

  it('has the same run for the same cell of another grid', async () => {
    const other = await plan(
      TEXT.replace('name: demo', 'name: other').replace('[averagePool, attentionPool]', '[cAbstractor, averagePool]'),
    );
    const keys = new Set((await plan()).runs.map(({ key }) => key));
    expect(other.runs.filter(({ key }) => keys.has(key))).toHaveLength(4);
  });

  it('puts the runs that others begin from first, one for every seed', async () => {
    const text = `${TEXT}first: { encoder: { recipe: debugNano } }\n`.replace(
      'run: { steps: 4,',
      'run: { initFrom: { vision: first:encoder }, steps: 4,',
    );
    const { runs } = await plan(text);
    expect(runs).toHaveLength(10);
    expect(runs.slice(0, 2)).toMatchObject([
      { first: 'encoder', seed: 0 },
      { first: 'encoder', seed: 1 },
    ]);
    expect(runs[3]).toMatchObject({ cell: ['averagePool', 'few'], seed: 1, after: [runs[1]?.key] });
    // Another encoder is another run.
    const later = await plan(text.replace('recipe: debugNano }', 'recipe: debugNano, run: { steps: 9 } }'));
    expect(later.runs[3]?.key).not.toBe(runs[3]?.key);
  });

  it.each([
    [TEXT.replace('kind: [', 'kid: ['), 'grid.yaml: the axis model.connector.kid: unknown field "model.connector.kid"'],
    [
      TEXT.replace('averagePool,', 'maxPool,'),
      'grid.yaml: the axis model.connector.kind: model.connector.kind is "maxPool"',
    ],
    [TEXT.replace('[averagePool, attentionPool]', '[]'), 'the axis model.connector.kind has no values'],
    [TEXT.replace('attentionPool]', 'averagePool]'), 'the axis model.connector.kind has the value averagePool twice'],
    [
      TEXT.replace('tokensPerImage: 4', 'tokensPerImage: 1'),
      'the cells averagePool, few and averagePool, many are the same run',
    ],
    [TEXT.replace('[0, 1]', '[]'), 'seeds is [], but must be a list of at least one seed'],
    [TEXT.replace('[0, 1]', '[3, 3]'), 'seeds has 3 twice'],
    [TEXT.replace(/axes:[\s\S]*seeds/, 'axes: {}\nseeds'), 'axes is empty'],
    [`${TEXT}axis: {}\n`, 'unknown field "axis", did you mean axes?'],
    [TEXT.replace('name: demo\n', ''), 'name is missing'],
    [
      TEXT.replace('run: {', 'run: { initFrom: { vision: first:clip },'),
      'the cell averagePool, few: initFrom.vision is first:clip, but first has no run clip',
    ],
    [
      `${TEXT}first: { clip: { recipe: debugTiny } }\n`
        .replace('run: {', 'run: { initFrom: { vision: first:clip },')
        .replace('many: { model: {', 'many: { model: { vision: { width: 64 },'),
      'its encoder has the width 96, and that of the run 64',
    ],
    [
      TEXT.replace('[0, 1]', `[${Array.from({ length: 251 }, (_, i) => i)}]`),
      'the grid has 1004 runs, but may have 1000',
    ],
  ])('is refused for %j', async (text, message) => {
    await expect((async () => plan(text))()).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(message),
    });
  });
});

describe("the paper's figures", () => {
  it.each(FIGURES)('%s is a grid for the demo and for the paper’s size', async (figure) => {
    for (const name of ['debugNano', 'debugTiny', 'mm1-1b']) {
      const grid = resolveGrid({ value: figureGrid(figure, recipe(name), name) });
      const { runs } = await planGrid(grid, layersOf, figure);
      expect(runs.length).toBeGreaterThan(2);
    }
  });

  it('compares three connectors with 64 and 144 tokens at 224 and 336 pixels', async () => {
    const grid = resolveGrid({ value: figureGrid('connector', recipe('mm1-1b'), 'mm1-1b') });
    const { runs } = await planGrid(grid, layersOf, 'connector');
    const shapes = runs.map(({ config: { model } }) =>
      [model.connector.kind, model.connector.tokensPerImage, model.vision.imageSize].join(' '),
    );
    expect(shapes).toHaveLength(12);
    for (const shape of ['averagePool 64 224', 'attentionPool 144 224', 'cAbstractor 144 336'])
      expect(shapes).toContain(shape);
  });
});

describe('the driver of a grid', () => {
  it('writes table and figure with the mean and the standard error of the seeds', async () => {
    await using home = await temporaryDirectory();
    const grid = await plan();
    const files = await drive(grid, home.path, (index) => 2 + index / 10);
    expect(files.table).toContain('| averagePool | few | **2.050 ± 0.050** |');
    expect(files.table).toContain('| attentionPool | many | 2.650 ± 0.050 |');
    expect(files.csv).toContain('averagePool,many,2,2.25,0.05');
    expect(files.figure).toContain('held-out loss');
    expect(files.results.cells[0].values['held-out loss'].values).toEqual([2, 2.1]);
    expect(files.results.runs).toHaveLength(8);
  });

  it('leaves out of a mean what a run did not measure', async () => {
    await using home = await temporaryDirectory();
    const files = await drive(await plan(), home.path, (index) => (index < 2 ? null : 2));
    expect(files.table).toContain('| averagePool | few |  |');
  });
});

/** Drives a grid whose runs have all finished with these held-out losses. */
async function drive(grid: GridPlan, directory: string, lossOf: (index: number) => number | null) {
  const json = JSON.stringify(gridRecord(grid, new Map()));
  const record = parseSweepRecord(grid.id, json);
  if (!('grid' in record)) throw new Error('the record is not that of a grid');
  const views = grid.runs.map((_, i) => exampleRun({ runId: `run-${i}`, status: 'finished', step: 4, steps: 4 }));
  let finished = '';
  await driveRuns(
    drivenGrid(record, new Home(directory)),
    {
      runs: async () => views,
      metrics: async ({ runId }) => {
        const heldOut = { loss: lossOf(Number(runId.slice(4))), sources: {}, seconds: 1 };
        return [1, 2, 3, 4].map((step) => exampleStep(step, step === 4 ? { heldOut } : {}));
      },
      stop: async () => {},
      finish: async (result) => {
        finished = result.directory;
      },
      note: () => {},
    },
    new AbortController().signal,
  );
  const read = (name: string) => readFile(join(finished, name), 'utf8');
  return {
    table: await read('table.md'),
    csv: await read('table.csv'),
    figure: await read('figure.svg'),
    results: JSON.parse(await read('results.json')),
  };
}

it('a configuration that names runs to wait for keeps them', () => {
  const config = resolveRunConfig({ ...recipeInput('debugNano'), queue: { after: ['a-run'] } }, 'here');
  expect(config.queue.after).toEqual(['a-run']);
});
