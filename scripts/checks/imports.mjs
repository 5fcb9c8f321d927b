// What the sources import, read from their text.

import { dirname, join, normalize } from 'node:path';

/** @import { SourceFile } from './files.mjs' */

/** @param {string} path */
export const isTest = (path) => /\.test\.ts$|\.child\.ts$|\/testing\/|\/test-support\/|^packages\/testing\//.test(path);

/**
 * @param {readonly SourceFile[]} code
 * @returns {Map<string, Set<string>>} by path, who imports it
 */
export function importersOf(code) {
  /** @type {Map<string, Set<string>>} */
  const importers = new Map();
  const add = (/** @type {string} */ target, /** @type {string} */ path) =>
    importers.set(target, (importers.get(target) ?? new Set()).add(path));
  /** Where a name that a package exports is declared: `@weft/common deferred` → `packages/common/src/async.ts`. */
  /** @type {Map<string, string>} */
  const declaredIn = new Map();
  const tsx = new Set(code.flatMap(({ path }) => (path.endsWith('.tsx') ? path : [])));
  for (const { path, text } of code) {
    const isIndex = path.endsWith('/src/index.ts');
    for (const { names, from } of statementsOf(text)) {
      if (!from.startsWith('.')) continue;
      const base = normalize(join(dirname(path), from)).replace(/\.js$/, '');
      const target = tsx.has(`${base}.tsx`) ? `${base}.tsx` : `${base}.ts`;
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

/**
 * The module names of static and dynamic imports, re-exports and require calls.
 *
 * @param {string} text of a source
 * @returns {string[]}
 */
export function importsOf(text) {
  const code = text.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, '');
  const statements = /(?:^|[;}\s])(?:import|export)\s[^'"();]*?from\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]/gm;
  const calls = /\b(?:import|require|require\.resolve)\(\s*['"]([^'"]+)['"]/g;
  return [...code.matchAll(statements), ...code.matchAll(calls)].map(([, from, bare]) => from ?? bare ?? '');
}
