import { dirname, join, normalize } from 'node:path';

/** @import { SourceFile } from './files.mjs' */

export const MAX_LINES = 450;
/** A source file below this must be imported from two places, else it belongs into the file that imports it. */
export const MIN_LINES = 30;

/**
 * Nobody reads the end of a long file.
 *
 * @param {readonly SourceFile[]} files
 * @returns {string[]} one sentence a finding
 */
export function findLongFiles(files) {
  return files.flatMap(({ path, text }) => {
    const lines = lineCount(text);
    return lines > MAX_LINES ? [`${path} has ${lines} lines`] : [];
  });
}

/**
 * Small sources that only one file imports: their reader has to open two files for one thought. What an index exports
 * is imported wherever another package imports one of its names.
 *
 * @param {readonly SourceFile[]} sources TypeScript of packages and apps; tests among them do not count as importers
 * @returns {string[]} one sentence a finding
 */
export function findCrumbs(sources) {
  const code = sources.filter(({ path }) => !isTest(path));
  const importers = importersOf(code);
  return code.flatMap(({ path, text }) => {
    if (isEntry(path) || lineCount(text) >= MIN_LINES) return [];
    const [only, second] = importers.get(path) ?? [];
    if (second !== undefined) return [];
    return [`${path} has ${lineCount(text)} lines, and ${only ?? 'nothing but tests'} alone imports it`];
  });
}

/**
 * @param {readonly SourceFile[]} code
 * @returns {Map<string, Set<string>>} by path, who imports it
 */
function importersOf(code) {
  /** @type {Map<string, Set<string>>} */
  const importers = new Map();
  const add = (/** @type {string} */ target, /** @type {string} */ path) =>
    importers.set(target, (importers.get(target) ?? new Set()).add(path));
  /** Where a name that a package exports is declared: `@weft/common deferred` → `packages/common/src/async.ts`. */
  /** @type {Map<string, string>} */
  const declaredIn = new Map();
  for (const { path, text } of code) {
    const isIndex = path.endsWith('/src/index.ts');
    for (const { names, from } of statementsOf(text)) {
      if (!from.startsWith('.')) continue;
      const target = normalize(join(dirname(path), from)).replace(/\.js$/, '.ts');
      if (!isIndex) add(target, path);
      else for (const name of names) declaredIn.set(`@weft/${path.split('/')[1]} ${name}`, target);
    }
  }
  for (const { path, text } of code) {
    for (const { names, from } of statementsOf(text)) {
      for (const name of names) {
        const target = declaredIn.get(`${from} ${name}`);
        if (target !== undefined) add(target, path);
      }
    }
  }
  return importers;
}

/**
 * @param {string} text
 * @returns {{ names: string[]; from: string }[]} of imports and re-exports; a dynamic import has no names
 */
function statementsOf(text) {
  const code = text.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, '');
  const statements = [...code.matchAll(/(?:^|\n)(?:import|export)\s(?:type\s)?([^'";]*?)\sfrom\s*'([^']+)'/g)];
  const calls = [...code.matchAll(/\bimport\(\s*'([^']+)'/g), ...code.matchAll(/(?:^|\n)import '([^']+)'/g)];
  return [
    ...statements.map(([, names = '', from = '']) => ({
      names: names
        .replaceAll(/[{}]/g, '')
        .split(',')
        .map((name) =>
          name
            .trim()
            .replace(/^type\s/, '')
            .replace(/\sas\s.*$/, ''),
        ),
      from,
    })),
    ...calls.map(([, from = '']) => ({ names: [], from })),
  ];
}

/** @param {string} path */
const isTest = (path) => /\.test\.ts$|\.child\.ts$|\/testing\/|\/test-support\/|^packages\/testing\//.test(path);
/** @param {string} path */
const isEntry = (path) => /\/(index|main)\.ts$|\.d\.ts$/.test(path);
/** @param {string} text */
const lineCount = (text) => text.split('\n').length - (text.endsWith('\n') ? 1 : 0);

/** @param {string} path */
export const isCounted = (path) =>
  /\.(ts|mts|mjs|js|tsx|proto|py|sh|css|html)$/.test(path) && !path.includes('/generated/');
