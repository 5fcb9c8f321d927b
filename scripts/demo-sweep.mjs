// `node scripts/demo-sweep.mjs`: the worked example of docs/learning-rate.md. Sweeps four small models, fits η(N), and
// holds its prediction for a fifth against a grid of that size. Ends with 1 when the prediction is more than 2 % worse.
// What has been trained before in this home is not trained again.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './lib/root.mjs';

const WORSE_AT_MOST = 0.02;
const weft = join(ROOT, 'apps/cli/bin/weft.js');
const example = (/** @type {string} */ name) => join(ROOT, 'docs/examples', name);

/**
 * Runs a command with --json and returns its lines.
 *
 * @param {readonly string[]} args
 * @returns {Promise<Record<string, any>[]>}
 */
function run(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [weft, ...args, '--json'], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.once('close', (code) => {
      if (code !== 0) reject(new Error(`weft ${args.join(' ')} ended with ${code}`));
      else resolve(out.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : [])));
    });
  });
}

/** @param {string} file */
async function sweep(file) {
  console.log(`weft lr sweep docs/examples/${file} --local 2`);
  const summary = (await run(['lr', 'sweep', example(file), '--local', '2'])).find(
    ({ type }) => type === 'sweepSummary',
  );
  for (const { scale, learningRate, score } of summary?.runs ?? [])
    console.log(`  ${scale} at ${learningRate}: ${score?.toFixed(4) ?? 'no loss'}`);
  if (summary === undefined) throw new Error(`the sweep ${file} has no summary`);
  return summary;
}

const demo = await sweep('demo-sweep.yaml');
const [prediction] = demo.predictions;
console.log(`predicted for N ${prediction.at.params}: ${prediction.value.toExponential(3)}`);
const fifth = await sweep('demo-fifth-scale.yaml');
const best = Math.min(...fifth.runs.map((/** @type {{ score: number }} */ { score }) => score));

const setting = `optimizer.learningRate=auto:${join(demo.directory, 'fit.json')}`;
console.log(`weft launch docs/examples/demo-fifth-run.yaml --local 1 --set ${setting}`);
const launched = await run(['launch', example('demo-fifth-run.yaml'), '--local', '1', '--set', setting]);
const { directory } = launched.find(({ type }) => type === 'launched') ?? {};
const rows = readFileSync(join(directory, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
const { loss } = JSON.parse(rows.at(-1) ?? '{}').heldOut;
const worse = loss / best - 1;
console.log(
  `at the predicted rate ${loss.toFixed(4)}, best of its own grid ${best.toFixed(4)}: ${(100 * worse).toFixed(2)} %`,
);
process.exitCode = worse <= WORSE_AT_MOST ? 0 : 1;
