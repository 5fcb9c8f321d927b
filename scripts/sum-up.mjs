// Adds up what `npm test` and `scripts/check-quickstart.mjs` counted, for the last line of .ci/run.
// One that left no count broke down: it counts as a failure.
import { readFileSync } from 'node:fs';
import { QUICKSTART_SUMMARY_FILE } from './lib/check-quickstart.mjs';
import { SUMMARY_FILE } from './lib/test.mjs';

/** @typedef {{ passed: number; failed: number }} Counts */

/**
 * @param {string} path
 * @param {(summary: any) => Counts} counts
 * @returns {Counts}
 */
function read(path, counts) {
  try {
    return counts(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return { passed: 0, failed: 1 };
  }
}

const all = [read(SUMMARY_FILE, ({ total }) => total), read(QUICKSTART_SUMMARY_FILE, (summary) => summary)];
const sum = (/** @type {keyof Counts} */ name) => all.reduce((total, counts) => total + counts[name], 0);
console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
