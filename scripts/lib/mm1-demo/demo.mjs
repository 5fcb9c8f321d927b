import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from '../build.mjs';
import { installDependencies } from '../dependencies.mjs';
import { runTensorFlowStage } from '../native.mjs';
import { ROOT } from '../root.mjs';
import { capture, StageError, Stages } from '../stage.mjs';
import { makeDemoData } from './data.mjs';
import { writeReport } from './report.mjs';

const HELP = `npm run mm1-demo [-- --steps N] [--javascript]

The paper in small, in about ten minutes on two cores: an image encoder is trained on captions (CLIP), a multimodal model
begins from it, a small sweep fits η(N), the model is fine-tuned on conversations and asked about pictures that it has never seen,
with 0, 4 and 8 solved questions before. Everything is in .weft/mm1-demo, or in mm1-demo of $WEFT_HOME; report.html shows it.
A second start repeats nothing. --steps shortens every training and asks few questions, to see that all works; --javascript does
without TensorFlow.
`;
const WEFT = join(ROOT, 'apps', 'cli', 'bin', 'weft.js');
const HOME = resolve(process.env.WEFT_HOME || join(ROOT, '.weft'));
const FOLDER = join(HOME, 'mm1-demo');
const STATE = join(FOLDER, 'state.json');
const SHOTS = [0, 4, 8];
const TASKS = ['kinds', 'shuffled', 'blank'];
const example = (/** @type {string} */ name) => join('docs', 'examples', name);

/** @typedef {import('../stage.mjs').Report} Report */
/** @typedef {Record<string, any>} Line */

/**
 * @param {readonly string[]} words what the person wrote after `--`
 * @returns {Promise<number>} the exit code
 */
export async function mm1Demo(words) {
  if (words.includes('--help') || words.includes('-h')) {
    console.log(HELP);
    return 0;
  }
  const { steps, engine } = optionsOf(words);
  const stages = new Stages(engine.length === 0 ? 11 : 10);
  await stages.run('dependencies', installDependencies);
  await stages.run('build', build);
  if (engine.length === 0) await runTensorFlowStage(stages, '. Going on in pure JavaScript, which takes hours');
  mkdirSync(FOLDER, { recursive: true });
  await stages.run('data', async (report) => {
    await weft(['data', 'fetch', 'demo'], report);
    return makeDemoData(join(HOME, 'data/demo'), join(HOME, 'data/mm1-demo'));
  });
  const short = steps === undefined ? [] : ['--steps', `${steps}`];
  const set = engine.length === 0 ? [] : ['--set', ...engine];
  const small = steps === undefined ? engine : [...SMALL, ...engine];
  const training = small.length === 0 ? [] : ['--set', ...small];
  const encoder = [
    'clip-tiny',
    ...(steps === undefined ? ['--steps', ENCODER_STEPS] : short),
    '--set',
    ...ENCODER,
    ...small,
  ];
  await stages.run('image encoder, CLIP', (report) => train('encoder', encoder, report));
  const model = [example('mm1-demo.yaml'), ...short, '--init-from', `vision=${runFolder('encoder')}`, ...training];
  await stages.run('multimodal model', (report) => train('model', model, report));
  await stages.run('η(N) from a sweep', (report) => sweep(steps, engine, report));
  const tuned = [example('mm1-demo-sft.yaml'), ...short, '--init-from', runFolder('model'), ...training];
  await stages.run('fine-tuning', (report) => train('tuned', tuned, report));
  // A score of fewer questions is only for a look at the whole.
  const few = steps === undefined ? set : ['--limit', '6', ...set];
  await stages.run('questions about held-out pictures', async (report) => {
    for (const name of ['model', 'tuned']) await evaluate(name, few, report);
    return SHOTS.map((shots) => `${shots}-shot ${scoreOf('tuned', 'kinds', shots).toFixed(1)} %`).join(', ');
  });
  await stages.run('generation for three pictures', (report) => captions(set, report));
  await stages.run('report', async () =>
    writeReport({
      home: HOME,
      folder: FOLDER,
      runs: state(),
      scores: { model: scores('model'), tuned: scores('tuned') },
    }),
  );
  return verdict(steps !== undefined);
}

const ENCODER_STEPS = '200';
/** Of a shortened training. */
const SMALL = ['globalBatchSize=4', 'microbatchSize=4'];
/** The data of the encoder. Its shape is that of the model's. */
const ENCODER = [
  ...['data.directory=.weft/data/mm1-demo', 'data.sources.captions=captioned', 'data.weights.captions=1'],
  ...['workers=1', 'checkpoint.everySteps=50', 'checkpoint.keepLast=2'],
];

/**
 * @param {readonly string[]} words
 * @returns {{ steps: number | undefined; engine: readonly string[] }}
 */
function optionsOf(words) {
  const isScript = words.includes('--javascript');
  const [option, value, ...others] = words.filter((word) => word !== '--javascript');
  const engine = isScript ? ['engine.backend=javascript'] : [];
  if (option === undefined) return { steps: undefined, engine };
  const steps = Number(value);
  if (option === '--steps' && Number.isInteger(steps) && steps >= 1 && others.length === 0) return { steps, engine };
  throw new StageError(
    `npm run mm1-demo takes --javascript, and --steps with a whole number of at least 1, not ${words.join(' ')}`,
  );
}

/** The run of each stage, written before it trains. @returns {Record<string, string>} */
const state = () => (existsSync(STATE) ? JSON.parse(readFileSync(STATE, 'utf8')) : {});

const runFolder = (/** @type {string} */ name) => join(HOME, 'runs', state()[name] ?? '');

/**
 * Trains a run to its end; one that was begun before goes on from its newest checkpoint.
 *
 * @param {string} name
 * @param {readonly string[]} options of `weft launch`
 * @param {Report} report
 */
async function train(name, options, report) {
  const runId = state()[name];
  const known = runId !== undefined && existsSync(join(HOME, 'runs', runId)) ? await status(runId) : undefined;
  if (known?.status === 'finished') return `already trained, ${known.steps} steps`;
  if (known === undefined) await weft(['data', 'index', ...indexOptions(options)], report);
  const command =
    known === undefined ? ['launch', ...options, '--local', '1'] : ['resume', known.runId, '--local', '1'];
  const lines = await weft(command, report, (line) => {
    if (line.type === 'launched')
      writeFileSync(STATE, `${JSON.stringify({ ...state(), [name]: line.runId }, null, 2)}\n`);
    if (line.type === 'step') report.update(`step ${line.step} of ${line.steps}, loss ${line.loss?.toFixed(3)}`);
  });
  const summary = lines.findLast(({ type }) => type === 'summary');
  if (summary?.status !== 'finished')
    throw new StageError(
      `the run of the ${name} has ${summary?.status ?? 'no end'}`,
      'start the command again to go on',
    );
  return `${summary.step} steps, loss ${summary.loss?.toFixed(3)}`;
}

/** The recipe and its settings. @param {readonly string[]} options */
function indexOptions([recipe = '', ...options]) {
  const set = options.indexOf('--set');
  return set < 0 ? [recipe] : [recipe, ...options.slice(set)];
}

/** @param {string} runId @returns {Promise<Line>} */
async function status(runId) {
  const [line] = await weft(['status', runId]);
  return line ?? {};
}

/**
 * @param {number | undefined} steps
 * @param {readonly string[]} engine
 * @param {Report} report
 */
async function sweep(steps, engine, report) {
  let file = example('mm1-demo-sweep.yaml');
  const whole = readFileSync(join(ROOT, file), 'utf8');
  if (steps !== undefined || engine.length > 0) {
    file = join(FOLDER, 'sweep.yaml');
    const backend = engine.length === 0 ? '' : ', engine: { backend: javascript }';
    const size = steps === undefined ? 'steps: 40' : `steps: ${steps}, globalBatchSize: 4, microbatchSize: 4`;
    writeFileSync(file, whole.replace('steps: 40', `${size}${backend}`));
  }
  // Runs of so few steps may determine no law: that is a result too.
  const lines = await weft(['lr', 'sweep', file, '--local', '1'], report, undefined, { mayFail: true });
  const summary = lines.findLast(({ type }) => type === 'sweepSummary');
  if (summary === undefined) throw new StageError('the sweep has no summary', 'start the command again to go on');
  if (summary.runs.every((/** @type {Line} */ { score }) => score === null))
    throw new StageError(
      'the runs of the sweep were interrupted before one had a score',
      'go on with `weft resume`, or start the command again in another home ($WEFT_HOME)',
    );
  writeFileSync(join(FOLDER, 'sweep.json'), JSON.stringify(summary));
  return summary.law === null
    ? `${summary.runs.length} runs, which determine no law`
    : `${summary.runs.length} runs and a law`;
}

const scoresFolder = (/** @type {string} */ name) => join(FOLDER, `scores-${name}`);

/** The scores of a model, if they are there. @param {string} name @returns {Line[]} */
function scores(name) {
  const file = join(scoresFolder(name), 'results.json');
  const results = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  return results.run === state()[name] ? results.scores : [];
}

/** @param {string} name @param {string} task @param {number} shots @returns {number} */
const scoreOf = (name, task, shots) =>
  scores(name).find((score) => score.task === task && score.shots === shots)?.score ?? Number.NaN;

/**
 * @param {string} name
 * @param {readonly string[]} options
 * @param {Report} report
 */
async function evaluate(name, options, report) {
  if (scores(name).length === TASKS.length * SHOTS.length) return;
  const tasks = ['--tasks', join(ROOT, example('mm1-demo-tasks.yaml')), '--shots', SHOTS.join(',')];
  await weft(['eval', runFolder(name), ...tasks, '--batch', '16', '--output', scoresFolder(name), ...options], report);
}

/**
 * What the multimodal model writes about three pictures that are in no training data.
 *
 * @param {readonly string[]} options
 * @param {Report} report
 */
async function captions(options, report) {
  const output = join(FOLDER, 'captions.jsonl');
  const names = Object.values(JSON.parse(readFileSync(join(HOME, 'data/mm1-demo/kinds.json'), 'utf8')))
    .slice(0, 3)
    .map(({ imageId }) => imageId);
  const input = join(FOLDER, 'prompts.jsonl');
  const prompts = names.map((id) => ({
    id,
    prompt: '<image>',
    images: [join(HOME, 'data/mm1-demo/held-out', `${id}.png`)],
  }));
  writeFileSync(input, prompts.map((prompt) => `${JSON.stringify(prompt)}\n`).join(''));
  const made = existsSync(output) ? ['--resume'] : [];
  await weft(
    [
      'generate',
      runFolder('model'),
      '--input',
      input,
      '--output',
      output,
      '--max-tokens',
      '60',
      '--stop',
      '.',
      ...made,
      ...options,
    ],
    report,
  );
  return `${names.length} captions`;
}

/**
 * What the demo must show: shots help, and the pictures are looked at.
 *
 * @param {boolean} isShort too few steps for that
 */
function verdict(isShort) {
  const [zero, eight] = [scoreOf('tuned', 'kinds', 0), scoreOf('tuned', 'kinds', 8)];
  const baseline = Math.max(scoreOf('tuned', 'blank', 8), 100 / 9);
  const shuffled = scoreOf('tuned', 'shuffled', 8);
  console.log(
    `\n8-shot ${eight.toFixed(1)} %, 0-shot ${zero.toFixed(1)} %; without pictures ${baseline.toFixed(1)} %, with shuffled ones ${shuffled.toFixed(1)} %`,
  );
  console.log(`Open ${join(FOLDER, 'report.html')}`);
  if (isShort) return 0;
  // The standard error of a share of about a ninth in a hundred questions is 3 %.
  const isShown = eight > zero && eight > baseline + 6 && shuffled < baseline + 6;
  if (!isShown) console.error('error: shots do not help, or the pictures are not looked at');
  return isShown ? 0 : 1;
}

/**
 * Runs a command with --json.
 *
 * @param {readonly string[]} words
 * @param {Report} [report]
 * @param {(line: Line) => void} [onLine]
 * @param {{ mayFail?: boolean }} [options]
 * @returns {Promise<Line[]>}
 */
async function weft(words, report, onLine, { mayFail = false } = {}) {
  /** @type {Line[]} */
  const lines = [];
  let rest = '';
  const own = /** @type {Report} */ ({
    note() {},
    update() {},
  });
  const { exitCode, output } = await capture(process.execPath, [WEFT, ...words, '--home', HOME, '--json'], {
    report: own,
    onText: (text) => {
      const parts = `${rest}${text}`.split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        if (!part.startsWith('{')) continue;
        const line = JSON.parse(part);
        lines.push(line);
        onLine?.(line);
        if (onLine === undefined && typeof line.message === 'string') report?.update(line.message);
        if (line.type === 'runEnded')
          report?.update(`${line.scale} at ${line.learningRate}: ${line.score?.toFixed(3) ?? line.status}`);
      }
    },
  });
  if (exitCode === 0 || mayFail) return lines;
  console.error(output.trimEnd().split('\n').slice(-5).join('\n'));
  throw new StageError(`weft ${words.join(' ')} failed`, 'see above');
}
