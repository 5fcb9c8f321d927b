import { importersOf } from './imports.mjs';

/** @import { SourceFile } from './files.mjs' */

/** The walks of docs/tour.md, by heading: how many files a reader may have to open. */
const WALKS = {
  'From the command line to the forward pass': 12,
  'A batch, from the index to the forward pass': 14,
  'A gradient, from the backward pass to AdamW': 14,
};

/**
 * A walk is a numbered list of files. Each one imports a file that the list named before, or is imported by one. Two hops
 * need no import, and say so after the path: ", on the wire" is a message to another process, ", behind `Port`" leads from
 * the caller of an interface to the file that implements it; both import the interface.
 *
 * @param {SourceFile} tour
 * @param {readonly SourceFile[]} code of packages and apps, without tests
 * @param {Readonly<Record<string, number>>} [walks] by heading, the limit
 * @returns {string[]} one sentence a finding
 */
export function findBrokenWalks({ path, text }, code, walks = WALKS) {
  const importers = importersOf(code);
  const imports = (/** @type {string} */ from, /** @type {string} */ to) => importers.get(to)?.has(from) === true;
  const declarerOf = (/** @type {string} */ port) =>
    code.find((each) => new RegExp(`^export (?:interface|type|(?:abstract )?class) ${port}\\b`, 'm').test(each.text));
  return Object.entries(walks).flatMap(([heading, limit]) => {
    const section = text.split(/^## /m).find((each) => each.startsWith(`${heading}\n`));
    if (section === undefined) return [`${path} has no section "${heading}"`];
    const steps = [...section.matchAll(/^\d+\. `([^`]+)`(.*)$/gm)].map(([, file = '', rest = '']) => ({
      file,
      isOnTheWire: rest.startsWith(', on the wire'),
      port: /^, behind `(\w+)`/.exec(rest)?.[1],
    }));
    const broken = steps.slice(1).flatMap(({ file, isOnTheWire, port }, index) => {
      const before = steps.slice(0, index + 1).map((step) => step.file);
      if (isOnTheWire || before.some((each) => imports(each, file) || imports(file, each))) return [];
      if (port === undefined) return [`${path}, "${heading}": no file before ${file} imports it or is imported by it`];
      const declarer = declarerOf(port)?.path;
      const importsPort = (/** @type {string} */ each) =>
        declarer !== undefined && (each === declarer || imports(each, declarer));
      if (importsPort(file) && before.some(importsPort)) return [];
      return [`${path}, "${heading}": ${port} does not lead to ${file}`];
    });
    const files = new Set(steps.map(({ file }) => file)).size;
    const length = files === 0 || files > limit ? [`${path}, "${heading}": ${files} files, of 1 to ${limit}`] : [];
    return [...broken, ...length];
  });
}
