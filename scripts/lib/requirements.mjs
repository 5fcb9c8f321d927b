// What some tests need beside npm's packages, by the name of the test file: `x.promtool.test.ts` needs promtool.

import { spawnSync } from 'node:child_process';

/**
 * @typedef {object} Requirement
 * @property {string} kind the word in the names of test files that need it
 * @property {string} [folder] all of whose tests need it too
 * @property {boolean} [skipsItself] the tests decide by themselves what they can do without it
 * @property {() => boolean} isThere asked only when a test needs it
 * @property {string} missing a clause
 * @property {string} hint an imperative sentence without a final full stop
 */

/** @param {string} program @param {readonly string[]} words */
const works = (program, words) => spawnSync(program, words, { stdio: 'ignore', timeout: 60_000 }).status === 0;

/** @type {readonly Requirement[]} */
export const REQUIREMENTS = [
  {
    kind: 'promtool',
    isThere: () => works('promtool', ['--version']),
    missing: 'promtool was not found',
    hint: 'install the Debian package prometheus',
  },
  {
    kind: 'pjrt',
    isThere: () => works(process.execPath, ['scripts/pjrt-plugin.mjs', '--cpu']),
    missing: "there is no PJRT plugin for the tests' CPU",
    hint: 'run `node scripts/pjrt-plugin.mjs --cpu`, which says why',
  },
  {
    kind: 'python',
    skipsItself: true,
    isThere: () => works('python3', ['-c', 'import safetensors.numpy, moto.server']),
    missing: 'Python with safetensors, numpy and moto was not found',
    hint: "run `pip install safetensors numpy 'moto[server]'`",
  },
  {
    kind: 'redis',
    isThere: () => works('redis-server', ['--version']),
    missing: 'redis-server was not found',
    hint: 'install the Debian package redis-server',
  },
  {
    kind: 'browser',
    isThere: () => works('chromium', ['--version']),
    missing: 'chromium was not found',
    hint: 'install the Debian package chromium',
  },
];

/**
 * Which test files cannot run here, and a sentence for each kind.
 *
 * @param {readonly string[]} files paths of all test files
 * @param {readonly Requirement[]} [requirements]
 * @returns {{ skipped: string[]; sentences: string[] }}
 */
export function skippedTests(files, requirements = REQUIREMENTS) {
  /** @type {string[]} */
  const skipped = [];
  /** @type {string[]} */
  const sentences = [];
  for (const { kind, folder, skipsItself, isThere, missing, hint } of requirements) {
    const needing = files.filter(
      (file) => file.endsWith(`.${kind}.test.ts`) || (folder !== undefined && file.startsWith(`${folder}/`)),
    );
    if (needing.length === 0 || isThere()) continue;
    if (skipsItself !== true) skipped.push(...needing);
    const what = needing.length === 1 ? needing[0] : `${needing.length} files of ${kind} tests`;
    sentences.push(`skipped ${what}: ${missing}: ${hint}.`);
  }
  return { skipped, sentences };
}
