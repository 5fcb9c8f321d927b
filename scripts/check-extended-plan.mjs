// `node scripts/check-extended-plan.mjs [recipe…]`: compiles the phase `gradients` of recipes for 8 H100s that are not there,
// twice: as a plan does, in two copies with few layers that are extended, and with all layers. Prints a row of Markdown for
// each; the formula stands beside. Takes minutes a recipe. The exit code is 1 where the extended one is over 5 % off, or the
// formula over 15 %.
import { findCompiler, readChip } from '@weft/backend-pjrt';
import { planRun } from '@weft/planning';
import { recipe } from '@weft/recipes';
import { compilePlan } from '../apps/cli/dist/plan/compile-plan.js';
import { requireNode } from './lib/require-node.mjs';

requireNode();

const DEVICES = 8;
const MOST_OFF = { extended: 0.05, formula: 0.15 };
const GIB = 2 ** 30;

const chip = readChip('h100');
const compiler = findCompiler();
if (compiler === undefined) {
  console.error('there is no compiler for GPUs: `weft compile debugNano --devices 1xh100` fetches it');
  process.exit(2);
}
const named = process.argv.slice(2);
row(['recipe', 'formula', 'extended', 'of', 'compiled', 'extended / compiled', 'formula / compiled', 'seconds']);
row(Array.from({ length: 8 }, () => '---'));
for (const name of named.length === 0 ? ['mm1-3b', 'mm1-7b'] : named) {
  /** @type {import('@weft/config').RunConfig} */
  const config = { ...recipe(name), microbatchSize: DEVICES, activationCheckpointing: 'full' };
  const { memoryBytes } = chip;
  const target = {
    hosts: 1,
    devicesPerHost: DEVICES,
    memoryBytes,
    chip,
    networkBytesPerSecond: 50e9,
    price: undefined,
  };
  const { layout } = planRun(config, target);
  const onProgress = (/** @type {string} */ sentence) => process.stderr.write(`${name}: ${sentence}\n`);
  const options = { chip, gpusPerHost: DEVICES, memoryBytes, compiler, onProgress };
  const extended = await compilePlan(config, layout, { ...options, mostSeconds: 0 });
  const whole = await compilePlan(config, layout, { ...options, mostSeconds: Number.POSITIVE_INFINITY });
  const formula = layout.memory.activations;
  const ratios = { extended: extended.temporaries / whole.temporaries, formula: formula / whole.temporaries };
  const seconds = (/** @type {typeof extended} */ plan) =>
    plan.compiled.reduce((sum, each) => sum + each.seconds, 0).toFixed(0);
  row([
    name,
    ...[formula, extended.temporaries].map(gib),
    extended.compiled
      .map(({ decoderLayers, temporaries }) => `${decoderLayers} layers: ${gib(temporaries)}`)
      .join(', '),
    gib(whole.temporaries),
    ratios.extended.toFixed(3),
    ratios.formula.toFixed(3),
    `${seconds(extended)} and ${seconds(whole)}`,
  ]);
  const isOff = /** @type {const} */ (['extended', 'formula']).some(
    (what) => Math.abs(ratios[what] - 1) > MOST_OFF[what],
  );
  if (isOff) process.exitCode = 1;
}

/** @param {number} bytes */
function gib(bytes) {
  return (bytes / GIB).toFixed(2);
}

/** @param {readonly string[]} cells */
function row(cells) {
  console.log(`| ${cells.join(' | ')} |`);
}
