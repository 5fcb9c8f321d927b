// The table of `../shared/field-cases` (its README says what is right), and how a row is checked on the command line.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './root.mjs';

/**
 * One row: a case, settings beside those of its source, and what must come of it.
 *
 * @typedef {object} FieldCase
 * @property {string} name
 * @property {'captioned' | 'interleaved' | 'text'} source
 * @property {readonly string[]} [settings]
 * @property {RegExp} [refused] what the one sentence says; without it the case must be indexed
 * @property {number} [documents]
 * @property {number} [images]
 * @property {RegExp} [says] what is among what is left out, as JSON
 */

/** @type {readonly FieldCase[]} */
export const FIELD_CASES = [
  { name: 'wds-out-of-order', source: 'captioned', refused: /sample c000 .* do not lie side by side/ },
  { name: 'wds-appended-duplicate', source: 'captioned', refused: /c000\.jpg .* a second time, apart from its sample/ },
  { name: 'wds-one-bad-sample', source: 'captioned', refused: /sample c005 .* has no caption/ },
  {
    name: 'wds-one-bad-sample',
    source: 'captioned',
    settings: ['data.datasets.captioned.badSamples=skip'],
    documents: 5,
    says: /"it has no caption","count":1,"names":\["captioned\/s\.tar c005"\]/,
  },
  { name: 'wds-named-fields', source: 'captioned', documents: 3 },
  {
    name: 'wds-named-fields',
    source: 'captioned',
    settings: ['data.datasets.captioned.imageMember=input.jpg', 'data.datasets.captioned.captionMember=outputs.txt'],
    documents: 3,
  },
  { name: 'wds-json-nan', source: 'captioned', documents: 3 },
  { name: 'wds-caption-field', source: 'captioned', refused: /the fields of its \.json are TEXT/ },
  {
    name: 'wds-caption-field',
    source: 'captioned',
    settings: ['data.datasets.captioned.captionField=TEXT'],
    documents: 3,
  },
  { name: 'wds-mask-beside-image', source: 'captioned', documents: 3, says: /c0\.mask\.png/ },
  { name: 'wds-nested-folder-of-shards', source: 'captioned', documents: 9 },
  { name: 'wds-unknown-image-extension', source: 'captioned', documents: 3 },
  { name: 'image-extraneous-bytes', source: 'captioned', documents: 3 },
  { name: 'image-upscale-shift', source: 'captioned', documents: 1 },
  { name: 'mmc4-native', source: 'interleaved', documents: 1, images: 2 },
  { name: 'interleaved-missing-image', source: 'interleaved', refused: /sample d2 .* names the image \\?"0\.png/ },
  {
    name: 'interleaved-missing-image',
    source: 'interleaved',
    settings: ['data.datasets.interleaved.badSamples=skip'],
    documents: 1,
    says: /"it names an image, which it does not hold","count":1,"names":\["interleaved\/s\.tar d2"\]/,
  },
  { name: 'llava-conversation', source: 'interleaved', refused: /looks like LLaVA, a conversation/ },
  {
    name: 'llava-conversation',
    source: 'interleaved',
    settings: ['data.sources.interleaved=conversations', 'data.weights.interleaved=1'],
    documents: 1,
    images: 1,
  },
  { name: 'rows-without-target', source: 'interleaved', documents: 1, images: 40 },
  { name: 'text-unknown-extensions', source: 'text', documents: 8 },
  { name: 'text-json-nan', source: 'text', documents: 2 },
  { name: 'text-other-field', source: 'text', refused: /it has content/ },
  { name: 'text-other-field', source: 'text', settings: ['data.datasets.text.textField=content'], documents: 1 },
  { name: 'tokenizer-unigram-byte-fallback', source: 'text', documents: 5 },
  { name: 'tokenizer-unigram-long-text', source: 'text', documents: 1 },
  { name: 'special-token-in-text', source: 'text', documents: 1 },
  { name: 'path-with-hash', source: 'captioned', documents: 2 },
  {
    name: 'path-with-hash',
    source: 'captioned',
    settings: ['data.weights=0.45:0.45:0.1'],
    refused: /there are no interleaved shards/,
  },
];

const WEIGHTS = { captioned: '1:0:0', interleaved: '0:1:0', text: '0:0:1' };

/**
 * Indexes one case on the command line, into a folder of its own, so that the cases may be read-only.
 *
 * @param {string} folder the one that holds the cases
 * @param {FieldCase} row
 * @returns {Promise<string | undefined>} what is wrong
 */
export async function checkFieldCase(folder, row) {
  const directory = join(folder, row.name, row.name === 'path-with-hash' ? 'a #b' : '');
  const tokenizer = join(folder, row.name, 'tokenizer.json');
  const ownTokenizer = /^(tokenizer|special)-/.test(row.name)
    ? [`data.tokenizer=${tokenizer}`, 'model.decoder.vocabularySize=1500']
    : [];
  const index = await mkdtemp(join(tmpdir(), 'weft-field-case-'));
  try {
    const settings = row.settings ?? [];
    const weights = settings.some((setting) => setting.startsWith('data.weights'))
      ? []
      : [`data.weights=${WEIGHTS[row.source]}`];
    const set = [`data.directory=${directory}`, `data.index=${index}`, ...weights, ...ownTokenizer, ...settings];
    const { code, out, err } = await run(['data', 'index', 'debugNano', '--json', '--set', ...set]);
    if (row.refused !== undefined)
      return code !== 0 && row.refused.test(err) ? undefined : `it is not refused with ${row.refused}: ${err || out}`;
    if (code !== 0) return `it ended with ${code}: ${err}`;
    const { sources, leftOut } = JSON.parse(out);
    const { documents, images } = sources[row.source];
    if (row.documents !== undefined && documents !== row.documents)
      return `${documents} documents, not ${row.documents}`;
    if (row.images !== undefined && images !== row.images) return `${images} images, not ${row.images}`;
    if (row.says !== undefined && !row.says.test(JSON.stringify(leftOut)))
      return `it leaves out ${JSON.stringify(leftOut)}`;
    return undefined;
  } finally {
    await rm(index, { recursive: true, force: true });
  }
}

/**
 * @param {readonly string[]} args
 * @returns {Promise<{code: number | null, out: string, err: string}>}
 */
function run(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(ROOT, 'apps/cli/bin/weft.js'), ...args], { cwd: ROOT });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.once('close', (code) => resolve({ code, out, err }));
  });
}
