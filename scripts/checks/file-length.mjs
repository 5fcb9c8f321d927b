/** @import { SourceFile } from './files.mjs' */

export const MAX_LINES = 500;

/**
 * One thought per file: nobody reads the end of a long one.
 *
 * @param {readonly SourceFile[]} files
 * @returns {string[]} one sentence a finding
 */
export function findLongFiles(files) {
  return files.flatMap(({ path, text }) => {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    return lines > MAX_LINES ? [`${path} has ${lines} lines`] : [];
  });
}

/** @param {string} path */
export const isCounted = (path) =>
  /\.(ts|mts|mjs|js|tsx|proto|py|sh|css|html)$/.test(path) && !path.includes('/generated/');
