/** @import { SourceFile } from './files.mjs' */

/**
 * Words that were given up, for each the word that means it now. They are searched as whole words, in code, comments,
 * documents, protos and tests alike.
 *
 * @type {Readonly<Record<string, string>>}
 */
export const RETIRED_WORDS = {
  room: 'package',
};

/**
 * @param {readonly SourceFile[]} files
 * @param {Readonly<Record<string, string>>} [retired]
 * @returns {string[]} one sentence a finding
 */
export function findRetiredWords(files, retired = RETIRED_WORDS) {
  const pattern = new RegExp(`(?<![\\w$])(?:${Object.keys(retired).map(quoted).join('|')})(?![\\w$])`, 'g');
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => {
      const words = new Set([...line.matchAll(pattern)].map(([word]) => word));
      return [...words].map((word) => `${path}:${index + 1} says ${word}; the word is ${retired[word]}`);
    }),
  );
}

/** @param {string} text */
const quoted = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
