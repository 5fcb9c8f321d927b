import { importersOf } from './imports.mjs';

/** @import { SourceFile } from './files.mjs' */

/** The walks of docs/tour.md, by heading: how many files a reader may have to open. */
const WALKS = {
  'From the command line to the forward pass': 12,
  'A batch, from the index to the forward pass': 14,
  'A gradient, from the backward pass to AdamW': 14,
};

/**
 * A walk is a numbered list of files, each imported by the one before it; a line that begins with "on the wire" after
 * the path leaves the process instead.
 *
 * @param {SourceFile} tour
 * @param {readonly SourceFile[]} code of packages and apps, without tests
 * @param {Readonly<Record<string, number>>} [walks] by heading, the limit
 * @returns {string[]} one sentence a finding
 */
export function findBrokenWalks({ path, text }, code, walks = WALKS) {
  const importers = importersOf(code);
  return Object.entries(walks).flatMap(([heading, limit]) => {
    const section = text.split(/^## /m).find((each) => each.startsWith(`${heading}\n`));
    if (section === undefined) return [`${path} has no section "${heading}"`];
    const steps = [...section.matchAll(/^\d+\. `([^`]+)`(.*)$/gm)].map(([, file = '', rest = '']) => ({
      file,
      isOnTheWire: /^,? \(?on the wire/.test(rest),
    }));
    const broken = steps.slice(1).flatMap(({ file, isOnTheWire }, index) => {
      const before = steps[index]?.file ?? '';
      if (isOnTheWire || importers.get(file)?.has(before)) return [];
      return [`${path}, "${heading}": ${before} does not import ${file}`];
    });
    const files = new Set(steps.map(({ file }) => file)).size;
    const length = files === 0 || files > limit ? [`${path}, "${heading}": ${files} files, of 1 to ${limit}`] : [];
    return [...broken, ...length];
  });
}
