import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './root.mjs';
import { capture, StageError } from './stage.mjs';

/** @param {string} name of a program that a dependency brings */
export const binary = (name) => join(ROOT, 'node_modules', '.bin', name);

/**
 * Compiles every package whose sources changed, and the web page where its files have.
 *
 * @param {import('./stage.mjs').Report} report
 * @returns {Promise<string>} the result, for the line of the stage
 */
export async function build(report) {
  const { exitCode, output } = await capture(binary('tsc'), ['-b', '--pretty', 'false'], { report });
  if (exitCode !== 0) {
    console.error(output);
    throw new StageError('the build failed', 'see above');
  }
  await buildPage(report);
  return 'up to date';
}

const PAGE = join(ROOT, 'apps', 'dashboard');

/** @param {import('./stage.mjs').Report} report */
async function buildPage(report) {
  if (timeOfNewest(join(PAGE, 'dist', 'page')) > Math.max(...PAGE_SOURCES.map((path) => timeOfNewest(path)))) return;
  const { exitCode, output } = await capture(binary('vite'), ['build', '--logLevel', 'warn'], {
    report,
    directory: PAGE,
  });
  if (exitCode === 0) return;
  console.error(output);
  throw new StageError('the build of the web page failed', 'see above');
}

/** What the page is made of; of other packages it has a few functions. */
const PAGE_SOURCES = ['src', 'index.html', 'vite.config.mjs', 'package.json']
  .map((name) => join(PAGE, name))
  .concat(['common', 'contracts'].map((name) => join(ROOT, 'packages', name, 'dist')));

/**
 * When a file, or the newest file of a folder, was written; 0 where there is none.
 *
 * @param {string} path
 * @returns {number}
 */
function timeOfNewest(path) {
  if (!existsSync(path)) return 0;
  const found = statSync(path);
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => timeOfNewest(join(path, name))));
}
