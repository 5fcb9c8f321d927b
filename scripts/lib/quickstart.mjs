import { join } from 'node:path';
import { build } from './build.mjs';
import { installDependencies } from './dependencies.mjs';
import { runTensorFlowStage } from './native.mjs';
import { ROOT } from './root.mjs';
import { inherit, StageError, Stages } from './stage.mjs';

const HELP = `npm run quickstart [-- [recipe] [options of weft launch]]

Installs, builds, finds or fetches TensorFlow, prepares the demo data and trains a small model on this machine.

  npm run quickstart                             the recipe debugTiny: 60 steps on two workers
  npm run quickstart -- --steps 20 --workers 3   fewer steps, more workers
  npm run quickstart -- mm1Tiny                  another recipe
  npm run quickstart -- --set seed=3             another setting
`;

/**
 * @param {readonly string[]} words what the person wrote after `--`
 * @returns {Promise<number>} the exit code
 */
export async function quickstart(words) {
  if (words.includes('--help') || words.includes('-h')) {
    console.log(HELP);
    return 0;
  }
  const stages = new Stages(5);
  await stages.run('dependencies', installDependencies);
  await stages.run('build', build);
  const hasTensorFlow = await runTensorFlowStage(
    stages,
    '. Going on in pure JavaScript, with the smaller recipe debugNano',
  );
  const plan = planQuickstart(words, hasTensorFlow);
  await stages.runAloud('demo data', () => weft(['data', 'fetch', 'demo']));
  await stages.runAloud('index of the data', () => weft(['data', 'index', plan.recipe, ...plan.settings]));
  console.log(`\nweft ${['launch', plan.recipe, ...plan.launch].join(' ')}`);
  return inherit(process.execPath, [WEFT, 'launch', plan.recipe, ...plan.launch]);
}

const WEFT = join(ROOT, 'apps', 'cli', 'bin', 'weft.js');

/** @param {readonly string[]} words */
async function weft(words) {
  const exitCode = await inherit(process.execPath, [WEFT, ...words]);
  if (exitCode !== 0) throw new StageError(`weft ${words.join(' ')} failed`, 'see above');
}

/**
 * What is launched for the words a person wrote: a leading name is a recipe, the rest are options of `weft launch`.
 * Settings also decide how the data is indexed.
 *
 * @param {readonly string[]} words
 * @param {boolean} hasTensorFlow
 * @returns {{ recipe: string; launch: string[]; settings: string[] }}
 */
export function planQuickstart(words, hasTensorFlow) {
  const [first, ...others] = words;
  const isNamed = first !== undefined && !first.startsWith('-');
  const options = isNamed ? others : [...words];
  const isLocal = options.some((word) => word === '--local' || word.startsWith('--local='));
  return {
    recipe: isNamed ? first : hasTensorFlow ? 'debugTiny' : 'debugNano',
    launch: isLocal ? options : ['--local', ...options],
    settings: settingsOf(options),
  };
}

/**
 * The `--set` options among others: `--set a=1 b=2`, `--set=a=1`.
 *
 * @param {readonly string[]} options
 * @returns {string[]}
 */
function settingsOf(options) {
  let isSetting = false;
  return options.flatMap((word) => {
    if (word.startsWith('-')) {
      isSetting = word === '--set';
      return word.startsWith('--set=') ? ['--set', word.slice('--set='.length)] : [];
    }
    return isSetting ? ['--set', word] : [];
  });
}
