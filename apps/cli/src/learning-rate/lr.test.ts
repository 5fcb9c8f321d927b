import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';

async function weft(...argv: string[]) {
  const terminal = recordedTerminal({ columns: 100 });
  const exitCode = await main(argv, terminal);
  return { exitCode, ...terminal.written };
}

/** Points of MM1's law at its four scales, each off by a few per cent. */
const POINTS = [
  'params,learning_rate',
  ...[9e6, 85e6, 302e6, 1.2e9].map(
    (n, i) => `${n},${Math.exp(-0.4214 * Math.log(n) - 0.5535) * (1 + 0.03 * (-1) ** i)}`,
  ),
].join('\n');

const GRID = [
  'scale,params,learning_rate,loss',
  ...[1e5, 4e5, 16e5].flatMap((n, scale) =>
    [0.25, 0.5, 1, 2, 4].map((factor, i) => {
      const loss = 3 + 0.05 * Math.log(factor) ** 2 + 0.001 * Math.sin(5 * i + scale);
      return `s${scale},${n},${2 * n ** -0.45 * factor},${loss}`;
    }),
  ),
].join('\n');

describe('weft lr predict', () => {
  it.each([
    ['9e6', '6.75e-4', '6.75e-5'],
    ['85M', '2.62e-4', '2.62e-5'],
    ['302M', '1.54e-4', '1.54e-5'],
    ['1.2e9', '8.58e-5', '8.58e-6'],
    ['2.9B', '5.92e-5', '5.92e-6'],
    ['6.4B', '4.24e-5', '4.24e-6'],
    ['30e9', '2.21e-5', '2.21e-6'],
  ])('gives MM1 of %s parameters η %s and λ %s', async (params, learningRate, weightDecay) => {
    const { out } = await weft('lr', 'predict', '--params', params, '--json');
    const prediction = JSON.parse(out);
    expect(prediction.value.toExponential(2)).toBe(learningRate);
    expect(prediction.weightDecay.toExponential(2)).toBe(weightDecay);
    expect(prediction).toMatchObject({ type: 'prediction', law: 'mm1', interval: null });
  });

  it('says for people what the law is, and how far it is stretched', async () => {
    const { out, exitCode } = await weft('lr', 'predict', '--params', '30B');
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^2\.211e-5 by mm1\n/);
    expect(out).toContain('N is 25 times the largest it was fitted to');
    expect(out).toContain('η = 0.5749·N^-0.4214');
  });

  it('says how far below its data a model lies', async () => {
    const { out } = await weft('lr', 'predict', '--params', '3M');
    expect(out).toContain('N is 3 times smaller than the smallest it was fitted to');
  });

  it("takes a recipe's own N and D", async () => {
    const { out } = await weft('lr', 'predict', 'mm1-3b', '--fit', 'step-law', '--json');
    expect(JSON.parse(out).at).toEqual({ params: 2_913_900_032, tokens: 200_000 * 512 * 4096 });
  });

  it.each([
    [['lr', 'predict'], 2, 'nothing says how large the model is: add --params 30e9'],
    [['lr', 'predict', '--params', '-3'], 2, '--params must be a number above 0, such as 30e9, 30B or 302M, not "-3"'],
    [['lr', 'predict', '--params', '1B', '--fit', 'step-law'], 1, 'step-law depends on tokens (D), which is not given'],
    [['lr', 'predict', '--params', '1B', '--fit', 'mm2'], 1, 'there is no published law "mm2": write mm1,'],
    [['lr', 'predict', '--params', '1B', '--fit', 'no.json'], 1, 'there is no fit file'],
    [['lr', 'predict', '--params', '1B', '--set', 'steps=3'], 2, '--set changes fields of a run, but none is named'],
    [['lr', 'predict', '--params', '1B', '--plot', 'nowhere/x.svg'], 1, 'because its folder does not exist'],
  ])('refuses %j', async (argv, exitCode, message) => {
    const result = await weft(...argv);
    expect(result).toMatchObject({ exitCode, out: '' });
    expect(result.err).toContain(message);
  });
});

describe('weft lr fit', () => {
  it('fits points, writes fit and picture, and the fit predicts', async () => {
    await using directory = await temporaryDirectory();
    const [points, fit, picture] = ['points.csv', 'fit.json', 'fit.svg'].map((name) => join(directory.path, name));
    await writeFile(points ?? '', POINTS);
    const { out, exitCode } = await weft(
      ...['lr', 'fit', points ?? '', '--predict', '30B', '--out', fit ?? '', '--plot', picture ?? ''],
    );
    expect(exitCode).toBe(0);
    expect(out).toMatch(/exponent of N +-0\.4\d+ +\(95 % interval -0\.\d+ to -0\.\d+\)/);
    expect(out).toMatch(/^N 30\.0 B: \d\.\d{3}e-5, 95 % interval/m);
    expect(out).toContain('The smaller scales alone predict');
    expect(await readFile(picture ?? '', 'utf8')).toMatch(/^<svg .*<\/svg>\n$/s);

    const predicted = JSON.parse((await weft('lr', 'predict', '--params', '30B', '--fit', fit ?? '', '--json')).out);
    expect(predicted.value / 2.211e-5).toBeCloseTo(1, 0);
    expect(predicted.interval.low).toBeLessThan(predicted.value);
    expect(predicted.outside).toEqual([{ variable: 'params', side: 'above', factor: 25 }]);
  });

  it('fits a grid by the optimum of every scale', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'grid.csv');
    await writeFile(path, GRID);
    const report = JSON.parse((await weft('lr', 'fit', path, '--json')).out);
    expect(report.optima).toHaveLength(3);
    expect(report.law.exponents[0]).toBeCloseTo(-0.45, 1);
    expect((await weft('lr', 'fit', path)).out).toMatch(
      /^scale +best +95 % interval +loss +best tried +law +left out$/m,
    );
  });

  it("fits by a score of one's own, the higher the better, and says so in the file", async () => {
    await using directory = await temporaryDirectory();
    const [path, fit] = ['grid.csv', 'fit.json'].map((name) => join(directory.path, name));
    const withScores = GRID.replace('loss', 'loss,eight_shot').replaceAll(
      /^(s\d.*,)([\d.]+)$/gm,
      (_, rest: string, loss: string) => `${rest}${loss},${4 - Number(loss)}`,
    );
    await writeFile(path ?? '', withScores);
    const by = async (...options: string[]) =>
      JSON.parse((await weft('lr', 'fit', path ?? '', '--json', '--out', fit ?? '', ...options)).out);
    const byLoss = await by();
    const byScore = await by('--metric', 'eight_shot', '--higher-is-better');
    expect(byScore.law.exponents[0]).toBeCloseTo(byLoss.law.exponents[0], 9);
    expect(byScore.optima[0].score).toBeCloseTo(4 - byLoss.optima[0].score, 9);
    expect(JSON.parse(await readFile(fit ?? '', 'utf8'))).toMatchObject({
      metric: { name: 'eight_shot', better: 'higher' },
      provenance: { metric: 'the column eight_shot, the higher the better' },
      law: { source: '15 runs of grid.csv, by eight_shot' },
    });
    const { err, exitCode } = await weft('lr', 'fit', path ?? '', '--metric', 'eight_shot');
    expect(exitCode).toBe(1);
    expect(err).toContain('3 scales have no optimum');
    expect(err).toContain('the lowest eight_shot lies on the edge of the grid');
  });

  it('shows intervals at the level asked for, in table and picture', async () => {
    await using directory = await temporaryDirectory();
    const [path, picture] = ['points.csv', 'fit.svg'].map((name) => join(directory.path, name));
    await writeFile(path ?? '', POINTS);
    const { out } = await weft('lr', 'fit', path ?? '', '--level', '0.57', '--plot', picture ?? '');
    expect(out).toContain('(57 % interval');
    expect(await readFile(picture ?? '', 'utf8')).toContain('band: 57 % prediction interval');
  });

  it.each([
    [POINTS, ['--metric', 'loss'], 1, 'the column loss is missing'],
    [POINTS, ['--weights', 'uncertainty'], 2, '--weights is about a grid, but no scale of'],
    [POINTS, ['--out', 'nowhere/fit.json'], 1, 'nowhere/fit.json cannot be written, because its folder does not exist'],
    [
      `${POINTS.replaceAll(/$/gm, ',')}`.replace('rate,', 'rate,loss'),
      [],
      1,
      'a scale has one run, and that has no loss',
    ],
    [GRID.replaceAll(/$/gm, ',1').replace('loss,1', 'loss,weight'), [], 1, 'the runs of a grid have no weights'],
  ])('refuses what does not fit together (%#)', async (text, options, exitCode, message) => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'points.csv');
    await writeFile(path, text);
    const result = await weft('lr', 'fit', path, ...options);
    expect(result).toMatchObject({ exitCode, out: '' });
    expect(result.err).toContain(message);
  });

  it.each([
    ['params,learning_rate\n1e6,1e-3\n1e6,2e-3\n1e6,3e-3', 'all points are of one scale'],
    ['params,learning_rate\n1e6,1e-3\n1e7,5e-4', 'the points are of 2 scales'],
    ['params,learning_rate\n1e6,0\n', ':2: learning_rate is 0, but must be a number above 0'],
    ['params,learning_rate\n1e6,NaN\n', ':2: learning_rate is NaN, but must be a number above 0'],
    [
      GRID.replaceAll(/^(s1,.*),[\d.]+$/gm, (_, row: string) => `${row},${row.split(',')[2]}`),
      'N = 400000: the lowest loss lies on the edge of the grid, at its lowest rate',
    ],
  ])('refuses with a reason (%#)', async (text, message) => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'points.csv');
    await writeFile(path, text);
    const { exitCode, out, err } = await weft('lr', 'fit', path);
    expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
    expect(err).toContain(message);
  });
});

describe('optimizer.learningRate=auto', () => {
  const dryRun = async (...settings: string[]) =>
    weft('launch', 'mm1-3b', '--dry-run', '--json', ...settings.flatMap((each) => ['--set', each]));

  it("takes MM1's law at the model's own N, and records value, law and source", async () => {
    const { config } = JSON.parse((await dryRun('optimizer.learningRate=auto')).out);
    expect(config.optimizer).toMatchObject({ learningRate: 5.906e-5, weightDecay: 5.906e-6 });
    expect(config.learningRateSource).toMatchObject({ fit: 'mm1', params: 2_913_900_032, interval: null });
    expect(config.learningRateSource.extrapolation).toBeCloseTo(2.4, 1);
  });

  it("takes a fit of one's own, with its interval", async () => {
    await using directory = await temporaryDirectory();
    const [points, fit] = ['points.csv', 'fit.json'].map((name) => join(directory.path, name));
    await writeFile(points ?? '', POINTS);
    await weft('lr', 'fit', points ?? '', '--out', fit ?? '');
    const { config } = JSON.parse((await dryRun(`optimizer.learningRate=auto:${fit}`)).out);
    const { value, interval } = config.learningRateSource;
    expect(config.optimizer.learningRate).toBe(value);
    expect(interval.low < value && value < interval.high).toBe(true);
    expect(interval.level).toBe(0.95);
  });

  it('follows the size of the model, experts not counted', async () => {
    const rate = async (...settings: string[]) =>
      JSON.parse((await dryRun('optimizer.learningRate=auto', ...settings)).out).config.optimizer.learningRate;
    const dense = await rate();
    expect(await rate('model.decoder.depth=13')).toBeGreaterThan(dense);
    expect(await rate('model.decoder.moe.experts=8')).toBe(dense);
  });

  it('refuses a law of something else, and a law that does not exist', async () => {
    expect((await dryRun('optimizer.learningRate=auto:step-law-batch')).err).toContain('is a law of the batch size');
    expect((await dryRun('optimizer.learningRate=auto:nowhere')).err).toContain('there is no published law');
  });
});
