import { dirname, join, normalize } from 'node:path';

/** @import { SourceFile } from './files.mjs' */

/**
 * What documents promise: paths in backticks, targets of links, and `npm run` scripts.
 *
 * @param {readonly SourceFile[]} documents
 * @param {(path: string) => boolean} exists of a path from the root
 * @param {readonly string[]} topLevel names in the root folder: what a path must begin with to be one of ours
 * @param {readonly string[]} npmScripts
 * @returns {string[]} one sentence a finding
 */
export function findBrokenPaths(documents, exists, topLevel, npmScripts) {
  return documents.flatMap(({ path, text }) => {
    const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '');
    const missing = [...pathsInBackticks(prose, topLevel), ...linkTargets(prose, path)].filter((each) => !exists(each));
    const scripts = [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name = '']) => name);
    const unknown = scripts.filter((name) => !npmScripts.includes(name));
    return [
      ...unique(missing).map((each) => `${path} names ${each}, which does not exist`),
      ...unique(unknown).map((name) => `${path} names npm run ${name}, which is no script of package.json`),
    ];
  });
}

/**
 * @param {string} text
 * @param {readonly string[]} topLevel
 * @returns {string[]}
 */
function pathsInBackticks(text, topLevel) {
  return [...text.matchAll(/`([^`\n]+)`/g)].flatMap(([, code = '']) =>
    code.split(/\s+/).flatMap((word) => {
      const path = word
        .replace(/^\.\//, '')
        .replace(/[,;:)]+$/, '')
        .replace(/:\d+$/, '');
      const isOurs = topLevel.some((name) => path === name || path.startsWith(`${name}/`));
      return isOurs ? [withoutPattern(path)] : [];
    }),
  );
}

/**
 * `packages/<package>/src` stands for many paths: what comes before the first pattern must exist.
 *
 * @param {string} path
 */
function withoutPattern(path) {
  const parts = path.split('/');
  const pattern = parts.findIndex((part) => /[*<>{}…]/.test(part));
  return (pattern === -1 ? parts : parts.slice(0, pattern)).join('/').replace(/\/$/, '');
}

/**
 * @param {string} text
 * @param {string} from the document's own path
 * @returns {string[]} paths from the root
 */
function linkTargets(text, from) {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    const path = target.split('#')[0] ?? '';
    if (path === '' || /^\w+:/.test(path)) return [];
    return [normalize(join(dirname(from), path)).replace(/\/$/, '')];
  });
}

/** @param {readonly string[]} names */
const unique = (names) => [...new Set(names)];
