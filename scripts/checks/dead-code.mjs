import { binary } from '../lib/build.mjs';
import { ROOT } from '../lib/root.mjs';
import { capture } from '../lib/stage.mjs';

/**
 * Exports that no file imports, files that no entry reaches, dependencies that no file uses (knip.json).
 *
 * @param {string} [directory] default: the repository
 * @returns {Promise<string[]>} one sentence a finding
 */
export async function findDeadCode(directory = ROOT) {
  const { exitCode, output } = await capture(binary('knip'), ['--no-config-hints', '--reporter=json'], { directory });
  if (exitCode === 0) return [];
  try {
    return findingsOfKnip(output);
  } catch {
    return output.trimEnd().split('\n');
  }
}

const KINDS = /** @type {const} */ ({
  files: 'is imported by no file',
  dependencies: 'lists the dependency',
  devDependencies: 'lists the dependency',
  unlisted: 'imports without listing it',
  unresolved: 'imports what does not exist:',
  binaries: 'runs without listing it',
  exports: 'has an export that no file imports:',
  types: 'has an export that no file imports:',
  enumMembers: 'has an unused enum member:',
  duplicates: 'exports twice',
});

/**
 * @param {string} output what knip's JSON reporter prints
 * @returns {string[]}
 */
export function findingsOfKnip(output) {
  /** @type {{ issues: Record<string, unknown>[] }} */
  const { issues } = JSON.parse(output);
  return issues.flatMap(({ file, ...found }) =>
    Object.entries(KINDS).flatMap(([kind, what]) =>
      namesOf(found[kind]).map((name) => `${file} ${what}${kind === 'files' ? '' : ` ${name}`}`),
    ),
  );
}

/**
 * @param {unknown} list of `{ name }`, or of lists of them
 * @returns {string[]}
 */
function namesOf(list) {
  if (!Array.isArray(list)) return [];
  return list.map((each) => (Array.isArray(each) ? each.map(({ name }) => name).join(' and ') : String(each.name)));
}
