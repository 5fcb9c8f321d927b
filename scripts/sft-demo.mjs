// `node scripts/sft-demo.mjs [--init-from <checkpoint>] [--steps N] [--run <run>] [--home DIR]`: fine-tunes `mm1-tiny-sft` on the
// 200 conversations of the demo and asks it the first question of each, greedily. Accuracy is the share of answers that are the
// conversation's own, character by character; it must be 0.9 on those it was trained on. Those about pictures it has never
// seen are asked too. As in the paper it begins from what was trained before: from `clip-tiny`, which is trained first, or from the
// checkpoint of --init-from. With --run it asks a run that is there already, for instance one that was interrupted and resumed.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ShardFile } from '../packages/data/dist/index.js';
import { ROOT } from './lib/root.mjs';
import { weftJson } from './lib/weft.mjs';

const LEAST_ACCURACY = 0.9;
const RECIPE = 'mm1-tiny-sft';
const ENCODER = 'clip-tiny';
const { values: options } = parseArgs({
  options: {
    'init-from': { type: 'string' },
    steps: { type: 'string' },
    run: { type: 'string' },
    home: { type: 'string' },
  },
});
const HOME = resolve(options.home ?? join(ROOT, '.weft'));
const data = join(HOME, 'data/demo');

/** @param {readonly string[]} args */
function run(args) {
  console.log(`weft ${args.join(' ')}`);
  return weftJson([...args, '--home', HOME]);
}

/**
 * Writes the first questions of the conversations of a source, with their pictures, as a file of prompts.
 *
 * @param {string} source
 * @param {string} folder
 * @returns {Promise<{ input: string; answers: string[]; pictures: number[] }>} the file, and of each question its answer and how many pictures it has
 */
async function questions(source, folder) {
  const at = (/** @type {string} */ name) => join(data, source, name);
  const pictures = join(folder, source);
  mkdirSync(pictures);
  const archive = await ShardFile.open(at('pictures-00000.tar'));
  for await (const { name, offset, bytes } of archive.entries())
    writeFileSync(join(pictures, name), await archive.read(offset, bytes));
  await archive.close();
  const lines = readFileSync(at('emoji-00000.jsonl'), 'utf8').trimEnd().split('\n');
  const conversations = lines.map((line) => JSON.parse(line));
  const prompts = conversations.map(({ image = [], conversations: [question] }) => ({
    prompt: question.value,
    images: [image].flat().map((name) => join(pictures, name)),
  }));
  const input = join(folder, `${source}.jsonl`);
  writeFileSync(input, `${prompts.map((prompt) => JSON.stringify(prompt)).join('\n')}\n`);
  const answers = conversations.map(({ conversations: [, answer] }) => answer.value);
  return { input, answers, pictures: prompts.map(({ images }) => images.length) };
}

/**
 * @param {string} runId
 * @param {string} source
 * @param {string} folder
 */
async function accuracy(runId, source, folder) {
  const { input, answers, pictures } = await questions(source, folder);
  const output = join(folder, `${source}.answers.jsonl`);
  await run(['generate', runId, '--input', input, '--output', output, '--max-tokens', '64', '--batch', '16']);
  const given = readFileSync(output, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).text);
  const isRight = answers.map((answer, i) => given[i] === answer);
  const share = (/** @type {readonly boolean[]} */ some) => `${some.filter(Boolean).length} of ${some.length}`;
  const parts = [0, 1, 2].map((count) => {
    const some = isRight.filter((_, i) => pictures[i] === count);
    return `${share(some)} with ${['no picture', 'a picture', 'two pictures'][count]}`;
  });
  console.log(`${source}: ${share(isRight)} answers are exact: ${parts.join(', ')}`);
  return isRight.filter(Boolean).length / isRight.length;
}

const runId = options.run ?? (await train());
const folder = mkdtempSync(join(tmpdir(), 'weft-sft-demo-'));
try {
  const trained = await accuracy(runId, 'conversations', folder);
  await accuracy(runId, 'heldOutConversations', folder);
  if (trained < LEAST_ACCURACY) {
    console.error(`the accuracy on what was trained is ${trained}, below ${LEAST_ACCURACY}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** @returns {Promise<string>} the id of the run */
async function train() {
  await run(['data', 'fetch', 'demo']);
  const initFrom = options['init-from'] ?? `vision=${join(HOME, 'runs', await launch(ENCODER, []))}`;
  const steps = options.steps === undefined ? [] : ['--steps', options.steps];
  return launch(RECIPE, ['--init-from', initFrom, ...steps]);
}

/**
 * @param {string} recipe
 * @param {readonly string[]} settings
 * @returns {Promise<string>} the id of its run
 */
async function launch(recipe, settings) {
  await run(['data', 'index', recipe]);
  const started = performance.now();
  const lines = await run(['launch', recipe, '--local', '1', '--workers', '1', ...settings]);
  const runId = lines.find((line) => typeof line.runId === 'string')?.runId;
  if (runId === undefined) throw new Error(`the run of ${recipe} has no id`);
  console.log(`run ${runId}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return runId;
}
