// `node scripts/encoder-lift.mjs`: the numbers of docs/encoders.md. Trains the small CLIP and the small AIM encoder on the captions
// of `npm run mm1-demo`, then that demo's multimodal model from each and from a random encoder, with three seeds. The encoder is
// frozen and the connector only averages patches, so that what is compared is the encoder. Ends with 1 unless both lower the held-out
// loss with every seed, and lift the scores of questions about pictures that neither encoder nor model has seen.
// What has been trained before in this home ($WEFT_HOME, or .weft) is not trained again. `--seeds 17,18` takes others;
// `--short` trains a few steps with one seed, and judges nothing.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isLifted, summary } from './lib/encoder-lift.mjs';
import { makeDemoData } from './lib/mm1-demo/data.mjs';
import { ROOT } from './lib/root.mjs';
import { weft as runWeft } from './lib/weft.mjs';

const { values: options } = parseArgs({ options: { short: { type: 'boolean' }, seeds: { type: 'string' } } });
const isShort = options.short === true;
const SEEDS = (options.seeds ?? (isShort ? '17' : '17,18,19')).split(',').map(Number);
const STEPS = isShort ? { clip: 4, aim: 4, model: 4 } : { clip: 200, aim: 600, model: 200 };
const ENCODERS = /** @type {const} */ (['random', 'clip', 'aim']);
const HOME = resolve(process.env.WEFT_HOME ?? join(ROOT, '.weft'));
const MODEL = join('docs', 'examples', 'mm1-demo.yaml');
/** The captions of the demo's training pictures. */
const CAPTIONS = ['data.directory=.weft/data/mm1-demo', 'data.sources.captions=captioned', 'data.weights.captions=1'];
/** Of the model: the encoder stays as it is. */
const FROZEN = [
  ...['optimizer.learningRateFactors.vision=0', 'globalBatchSize=8', 'microbatchSize=8'],
  ...['evaluation.sequencesPerSource=64', 'evaluation.shots=4,8'],
  ...['kind=question', 'examples=.weft/data/mm1-demo/kinds.json', 'images=.weft/data/mm1-demo/held-out'].map(
    (setting) => `evaluation.tasks.kinds.${setting}`,
  ),
  ...['evaluation.tasks.kinds.prompt={IMAGE} {QUESTION}', 'evaluation.tasks.kinds.maxTokens=12'],
  `evaluation.examplesPerTask=${isShort ? 2 : 200}`,
];

/**
 * The run of this name that has taken all its steps: its folder and its last row.
 *
 * @param {string} name
 * @param {number} steps
 */
function finished(name, steps) {
  const runs = join(HOME, 'runs');
  for (const run of existsSync(runs) ? readdirSync(runs) : []) {
    const [config, metrics] = ['config.json', 'metrics.jsonl'].map((file) => join(runs, run, file));
    if (!config || !metrics || !existsSync(metrics) || JSON.parse(readFileSync(config, 'utf8')).recipe !== name)
      continue;
    /** @type {{ step: number; heldOut: { sources: Record<string, number> }; taskScores: { average: Record<string, number> } }} */
    const last = JSON.parse(readFileSync(metrics, 'utf8').trimEnd().split('\n').at(-1) ?? '{}');
    if (last.step === steps) return { directory: join(runs, run), last };
  }
  return undefined;
}

/**
 * Trains a run, unless it was before.
 *
 * @param {string} name
 * @param {{ recipe: string; steps: number; options?: string[]; settings: string[] }} run
 */
async function train(name, { recipe, steps, options = [], settings }) {
  const known = finished(name, steps);
  if (known !== undefined) return known;
  const set = [`recipe=${name}`, `checkpoint.everySteps=${steps}`, 'checkpoint.keepLast=1', ...settings];
  await weft(['launch', recipe, '--local', '1', '--steps', `${steps}`, ...options, '--set', ...set]);
  const trained = finished(name, steps);
  if (trained === undefined) throw new Error(`${name} has no ${steps} steps in ${HOME}`);
  return trained;
}

/** @param {readonly string[]} args */
const weft = (args) => runWeft(args, HOME);

await weft(['data', 'fetch', 'demo']);
await makeDemoData(join(HOME, 'data/demo'), join(HOME, 'data/mm1-demo'));
for (const recipe of ['clip-tiny', 'aim-tiny']) await weft(['data', 'index', recipe, '--set', ...CAPTIONS]);
await weft(['data', 'index', MODEL]);
/** @type {Record<string, string[]>} */
const initFrom = { random: [] };
for (const encoder of /** @type {const} */ (['clip', 'aim'])) {
  const steps = STEPS[encoder];
  const { directory } = await train(`lift-${encoder}`, { recipe: `${encoder}-tiny`, steps, settings: CAPTIONS });
  const checkpoint = `step-${String(steps).padStart(8, '0')}`;
  initFrom[encoder] = ['--init-from', `vision=${join(directory, 'checkpoints', checkpoint)}`];
}
/** @type {Record<'random' | 'clip' | 'aim', { loss: number; score: number }[]>} */
const found = { random: [], clip: [], aim: [] };
for (const seed of SEEDS) {
  for (const encoder of ENCODERS) {
    const { last } = await train(`lift-model-${encoder}-${seed}`, {
      ...{ recipe: MODEL, steps: STEPS.model, options: initFrom[encoder] ?? [] },
      settings: [`seed=${seed}`, ...FROZEN],
    });
    const scores = Object.values(last.taskScores.average);
    found[encoder].push({
      loss: last.heldOut.sources.pages ?? Number.NaN,
      score: scores.reduce((sum, score) => sum + score, 0) / scores.length,
    });
  }
  console.log(summary(found, SEEDS));
}
if (!isShort && !isLifted(found)) {
  console.error('an encoder does not lift the scores above a random one');
  process.exitCode = 1;
}
