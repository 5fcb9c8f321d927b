// `node scripts/demo-sweep.mjs`: the worked example of docs/learning-rate.md. Sweeps four small models, fits η(N), and
// holds its prediction for a fifth against a grid of that size. Ends with 1 when the prediction is more than 2 % worse.
// What has been trained before in this home is not trained again.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './lib/root.mjs';
import { weftJson } from './lib/weft.mjs';

const WORSE_AT_MOST = 0.02;
const example = (/** @type {string} */ name) => join(ROOT, 'docs/examples', name);

/** @param {string} file */
async function sweep(file) {
  console.log(`weft lr sweep docs/examples/${file} --local 2`);
  const summary = (await weftJson(['lr', 'sweep', example(file), '--local', '2'])).find(
    ({ type }) => type === 'sweepSummary',
  );
  if (summary === undefined) throw new Error(`the sweep ${file} has no summary`);
  for (const [cell, loss] of meanLosses(summary.runs)) console.log(`  ${cell}: ${loss.toFixed(4)}`);
  return summary;
}

/**
 * The mean over the seeds of every scale and rate.
 *
 * @param {readonly { scale: string; learningRate: number; score: number }[]} runs
 */
function meanLosses(runs) {
  /** @type {Map<string, number[]>} */
  const cells = new Map();
  for (const { scale, learningRate, score } of runs) {
    const cell = `${scale} at ${learningRate}`;
    cells.set(cell, [...(cells.get(cell) ?? []), score]);
  }
  return new Map([...cells].map(([cell, losses]) => [cell, mean(losses)]));
}

/**
 * The held-out loss of one run of the fifth scale.
 *
 * @param {number} seed
 * @param {string} setting
 * @returns {Promise<number>}
 */
async function launch(seed, setting) {
  const args = ['--set', `seed=${seed}`, setting];
  console.log(`weft launch docs/examples/demo-fifth-run.yaml --local 1 ${args.join(' ')}`);
  const lines = await weftJson(['launch', example('demo-fifth-run.yaml'), '--local', '1', ...args]);
  const { directory } = lines.find(({ type }) => type === 'launched') ?? {};
  const rows = readFileSync(join(directory, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  return JSON.parse(rows.at(-1) ?? '{}').heldOut.loss;
}

/** @param {readonly number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

const demo = await sweep('demo-sweep.yaml');
const [prediction] = demo.predictions;
console.log(`predicted for N ${prediction.at.params}: ${prediction.value.toExponential(3)}`);
const fifth = await sweep('demo-fifth-scale.yaml');
const best = Math.min(...meanLosses(fifth.runs).values());

const losses = [];
for (const seed of new Set(fifth.runs.map((/** @type {{ seed: number }} */ each) => each.seed)))
  losses.push(await launch(seed, `optimizer.learningRate=auto:${join(demo.directory, 'fit.json')}`));
const worse = mean(losses) / best - 1;
console.log(
  `at the predicted rate ${mean(losses).toFixed(4)} (${losses.map((loss) => loss.toFixed(4)).join(', ')}), ` +
    `best of its own grid ${best.toFixed(4)}: ${(100 * worse).toFixed(2)} % worse`,
);
process.exitCode = worse <= WORSE_AT_MOST ? 0 : 1;
