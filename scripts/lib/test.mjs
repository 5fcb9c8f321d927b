import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { listFiles } from '../checks/files.mjs';
import { runChecks } from '../checks/index.mjs';
import { binary, build } from './build.mjs';
import { installDependencies } from './dependencies.mjs';
import { runTensorFlowStage } from './native.mjs';
import { REQUIREMENTS, skippedTests } from './requirements.mjs';
import { ROOT } from './root.mjs';
import { capture, inherit, StageError, Stages } from './stage.mjs';

/** How many passed and failed, for scripts: written at the end of every run. */
export const SUMMARY_FILE = join(ROOT, '.cache', 'test-summary.json');

/** @typedef {{ passed: number; failed: number; skipped: number }} Counts */

/**
 * @param {readonly string[]} words go on to vitest: a path, `-t 'a name'`
 * @returns {Promise<number>} the exit code
 */
export async function test(words) {
  rmSync(SUMMARY_FILE, { force: true });
  const stages = new Stages(4);
  await stages.run('dependencies', installDependencies);
  await stages.run('build', build);
  const types = await countStage(stages, 'types of tests and scripts', checkTypes);
  const hasTensorFlow = await runTensorFlowStage(stages);

  console.log('\nchecks');
  const checks = await runChecks();
  console.log('\ntests');
  const tests = await runTests(words, hasTensorFlow);
  const total = add(types, add(checks, tests));
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  writeFileSync(SUMMARY_FILE, `${JSON.stringify({ types, checks, tests, total }, null, 2)}\n`);
  console.log(`\nchecks and tests: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed === 0 ? 0 : 1;
}

/**
 * A stage whose failure is counted instead of ending the script.
 *
 * @param {Stages} stages
 * @param {string} name
 * @param {(report: import('./stage.mjs').Report) => Promise<string>} work
 * @returns {Promise<Counts>}
 */
async function countStage(stages, name, work) {
  try {
    await stages.run(name, work);
    return { passed: 1, failed: 0, skipped: 0 };
  } catch (error) {
    if (!(error instanceof StageError)) throw error;
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

/** @param {import('./stage.mjs').Report} report */
async function checkTypes(report) {
  for (const project of ['tsconfig.test.json', 'scripts/tsconfig.json']) {
    const { exitCode, output } = await capture(binary('tsc'), ['-p', project, '--pretty', 'false'], { report });
    if (exitCode !== 0) {
      console.error(`\n${output}`);
      throw new StageError(`the types of ${project} do not fit`, 'see above');
    }
  }
  return 'fit';
}

/**
 * @param {readonly string[]} words
 * @param {boolean} hasTensorFlow
 * @returns {Promise<Counts>}
 */
async function runTests(words, hasTensorFlow) {
  const files = listFiles().filter((file) => file.endsWith('.test.ts'));
  const { skipped, sentences } = skippedTests(files, [
    ...REQUIREMENTS,
    {
      kind: 'tensorflow',
      folder: 'e2e',
      isThere: () => hasTensorFlow,
      missing: 'there is no TensorFlow library',
      hint: 'run `node scripts/native-library.mjs`, which says why',
    },
  ]);
  for (const sentence of sentences) console.log(sentence);
  const report = join(ROOT, '.cache', 'vitest.json');
  rmSync(report, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const environment = { ...process.env, ...(skipped.length > 0 ? { WEFT_SKIPPED_TESTS: skipped.join(',') } : {}) };
  const exitCode = await inherit(binary('vitest'), ['run', ...reporters, ...words], { environment });
  const expected = words.length > 0 ? [] : files.filter((file) => !skipped.includes(file));
  return readReport(report, exitCode, expected);
}

/**
 * @param {string} path of vitest's JSON report
 * @param {number} exitCode of vitest
 * @param {readonly string[]} expected files that must have been run
 * @returns {Counts}
 */
function readReport(path, exitCode, expected) {
  try {
    const report = JSON.parse(readFileSync(path, 'utf8'));
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numFailedTestSuites } = report;
    // A file that cannot even be loaded has no failed test, only a failed suite.
    const failed = Math.max(numFailedTests, exitCode === 0 ? 0 : Math.max(1, numFailedTestSuites));
    const run = new Set(report.testResults.map((/** @type {{ name: string }} */ { name }) => relative(ROOT, name)));
    const forgotten = expected.filter((file) => !run.has(file));
    for (const file of forgotten) console.log(`FAILED  ${file} was not run: name its folder in vitest.config.ts.`);
    return { passed: numPassedTests, failed: failed + forgotten.length, skipped: numPendingTests + numTodoTests };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

/**
 * @param {Counts} one
 * @param {Counts} other
 * @returns {Counts}
 */
const add = (one, other) => ({
  passed: one.passed + other.passed,
  failed: one.failed + other.failed,
  skipped: one.skipped + other.skipped,
});
