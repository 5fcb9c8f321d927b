// The linters: each finding becomes one line, `file:line what is wrong (rule)`.

import { relative } from 'node:path';
import { binary } from '../lib/build.mjs';
import { ROOT } from '../lib/root.mjs';
import { capture } from '../lib/stage.mjs';

/**
 * Format and lint by the rules of biome.json.
 *
 * @param {string} [directory] default: the repository
 * @returns {Promise<string[]>} one sentence a finding
 */
export async function runBiome(directory = ROOT) {
  const words = [
    'check',
    '--error-on-warnings',
    '--diagnostic-level=warn',
    '--reporter=github',
    '--max-diagnostics=100',
  ];
  const { exitCode, output } = await capture(binary('biome'), words, { directory });
  return exitCode === 0 ? [] : linesOr(output, findingsOfBiome(output));
}

/**
 * Warnings of the type-aware rule are errors: the failure of a promise that is not awaited is lost.
 *
 * @returns {Promise<string[]>}
 */
export async function runOxlint() {
  const { exitCode, output } = await capture(binary('oxlint'), [
    ...['--type-aware', '--allow=all', '--deny=typescript/no-floating-promises', '--format=unix'],
    ...['packages', 'apps', 'e2e', 'bench', 'scripts'],
  ]);
  return exitCode === 0 ? [] : linesOr(output, findingsOfOxlint(output));
}

/**
 * @param {string} output `::error title=lint/x,file=/a/b.ts,line=3,…::Sentence.`
 * @returns {string[]}
 */
export function findingsOfBiome(output) {
  return [...output.matchAll(/^::\w+ title=([^,]+),file=([^,]+),line=(\d+)[^:]*::(.*)$/gm)].map(
    ([, rule, file = '', line, sentence]) => `${relative(ROOT, file)}:${line} ${sentence} (${rule})`,
  );
}

/**
 * @param {string} output `a/b.ts:3:17: Sentence. [Error/rule]`
 * @returns {string[]}
 */
export function findingsOfOxlint(output) {
  return [...output.matchAll(/^([^\s:]+:\d+):\d+: (.*?) \[\w+\/(.*)\]$/gm)].map(
    ([, location, sentence, rule]) => `${location} ${sentence} (${rule})`,
  );
}

/**
 * A tool that failed without a finding broke down itself: then all its output is shown.
 *
 * @param {string} output
 * @param {string[]} findings
 */
const linesOr = (output, findings) => (findings.length > 0 ? findings : output.trimEnd().split('\n'));
