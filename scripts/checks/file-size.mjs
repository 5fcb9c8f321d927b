import { importersOf, isTest } from './imports.mjs';

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

/** @param {string} path */
const isEntry = (path) => /\/(index|main)\.tsx?$|\.d\.ts$/.test(path);
/** @param {string} text */
const lineCount = (text) => text.split('\n').length - (text.endsWith('\n') ? 1 : 0);

/** @param {string} path */
export const isCounted = (path) =>
  /\.(ts|mts|mjs|js|tsx|proto|py|sh|css|html)$/.test(path) && !path.includes('/generated/');
