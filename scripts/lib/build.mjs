import { join } from 'node:path';
import { ROOT } from './root.mjs';
import { capture, StageError } from './stage.mjs';

/** @param {string} name of a program that a dependency brings */
export const binary = (name) => join(ROOT, 'node_modules', '.bin', name);

/**
 * Compiles every package whose sources changed.
 *
 * @param {import('./stage.mjs').Report} report
 * @returns {Promise<string>} the result, for the line of the stage
 */
export async function build(report) {
  const { exitCode, output } = await capture(binary('tsc'), ['-b', '--pretty', 'false'], { report });
  if (exitCode === 0) return 'up to date';
  console.error(output);
  throw new StageError('the build failed', 'see above');
}
