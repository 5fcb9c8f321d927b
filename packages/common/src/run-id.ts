import type { Random } from './random.js';

/** Letters and digits that are not mistaken for one another when read aloud or copied by hand. */
const SUFFIX_ALPHABET = '23456789abcdefghjkmnpqrstuvwxyz';
const SUFFIX_LENGTH = 4;
const MAX_NAME_LENGTH = 40;
const RUN_ID = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/**
 * The id of a new run: its recipe, the minute it was made (UTC) and four random characters,
 * for instance `debug-tiny-20261123-0558-k3f9`. It is also the name of the run's directory.
 */
export function newRunId(recipe: string, nowMs: number, random: Random): string {
  const minute = new Date(nowMs).toISOString().replace(/^(\d+)-(\d+)-(\d+)T(\d+):(\d+).*$/, '$1$2$3-$4$5');
  const suffix = Array.from({ length: SUFFIX_LENGTH }, () => SUFFIX_ALPHABET[random.below(SUFFIX_ALPHABET.length)]);
  return `${kebabCase(recipe)}-${minute}-${suffix.join('')}`;
}

/** Whether a text can be a run id: lower-case letters, digits and single dashes, so it is safe as a directory name. */
export function isRunId(text: string): boolean {
  return text.length <= 100 && RUN_ID.test(text);
}

function kebabCase(name: string): string {
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_NAME_LENGTH)
    .replaceAll(/^-+|-+$/g, '');
  return words === '' ? 'run' : words;
}
