import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../lib/root.mjs';

/** @typedef {{ path: string; text: string }} SourceFile */

const NOT_OURS = new Set(['node_modules', 'dist', '.git', '.weft', '.cache', 'coverage']);

/**
 * The files of the repository, with those not committed yet, without what git ignores.
 *
 * @returns {string[]} paths from the root, sorted
 */
export function listFiles() {
  const files = fromGit() ?? [...walk('')];
  return files.filter((path) => existsSync(join(ROOT, path))).sort();
}

/**
 * @param {(path: string) => boolean} isWanted
 * @returns {SourceFile[]}
 */
export function readFiles(isWanted) {
  return listFiles()
    .filter(isWanted)
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

/** @returns {string[] | undefined} undefined outside of a git checkout */
function fromGit() {
  const words = ['ls-files', '--cached', '--others', '--exclude-standard', '-z'];
  const { status, stdout } = spawnSync('git', words, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 });
  return status === 0 ? stdout.split('\0').filter(Boolean) : undefined;
}

/**
 * @param {string} folder
 * @returns {Generator<string>}
 */
function* walk(folder) {
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    if (NOT_OURS.has(entry.name)) continue;
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* walk(path);
    else yield path;
  }
}
