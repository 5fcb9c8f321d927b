import { existsSync, readdirSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DatasetSettings, SourceKind } from '@weft/config';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { fieldConfig } from '../testing/field-data.js';
import { image, json, other, rows } from '../testing/field-rows.js';
import type { Members } from '../testing/tiny-dataset.js';
import { indexDataset } from './index-dataset.js';

/** A captioned sample with a sidecar. */
const sidecar = (key: string, fields: unknown, extension = 'json'): Members => [
  [`${key}.png`, image],
  [`${key}.${extension}`, json(fields)],
];
const pair = (key: string, caption = key): Members => [
  [`${key}.png`, image],
  [`${key}.txt`, caption],
];

rows('a caption in a field of its own', 'captioned', [
  {
    name: 'is read where the setting names it',
    files: { 's.tar': [...sidecar('a', { TEXT: 'one' }), ...sidecar('b', { TEXT: 'two', caption: 'no' })] },
    settings: { captionField: 'TEXT' },
    documents: ['⟨s.tar a.png⟩one', '⟨s.tar b.png⟩two'],
  },
  {
    name: 'is read rather than a .txt beside it',
    files: { 's.tar': [...sidecar('a', { alt: 'field' }), ['a.txt', 'text']] },
    settings: { captionField: 'alt' },
    documents: ['⟨s.tar a.png⟩field'],
    leftOut: { 'captioned/s.tar a.txt': 'it is neither the image nor the caption of its sample' },
  },
  {
    name: 'is read from a member with another name',
    files: { 's.tar': sidecar('a', { alt_text: 'one', score: 1 }, 'meta.json') },
    settings: { captionField: 'alt_text', captionMember: 'meta.json' },
    documents: ['⟨s.tar a.png⟩one'],
  },
  {
    name: 'is read from shards in folders below, in any case',
    files: { 'x/S.TAR': sidecar('a', { Caption: 'one' }) },
    settings: { captionField: 'Caption' },
    documents: ['⟨x/S.TAR a.png⟩one'],
  },
  {
    name: 'is asked for with the fields there are',
    files: { 's.tar': sidecar('a', { TEXT: 'one', url: 'x' }) },
    refused: /has no caption: the fields of its \.json are TEXT, url/,
  },
  {
    name: 'is refused where one sample lacks it',
    files: { 's.tar': [...sidecar('a', { TEXT: 'one' }), ...sidecar('b', { TEXT: 7 })] },
    settings: { captionField: 'TEXT' },
    refused: /the sample b in .* has no caption in the field "TEXT": the fields of its \.json are TEXT/,
  },
]);

rows('members that a setting names', 'captioned', [
  {
    name: 'are image and caption of named fields',
    files: {
      's.tar': [
        ['a.input.png', image],
        ['a.outputs.txt', 'one'],
      ],
    },
    settings: { imageMember: 'input.png', captionMember: 'outputs.txt' },
    documents: ['⟨s.tar a.input.png⟩one'],
  },
  {
    name: 'choose one of two images',
    files: {
      's.tar': [
        ['a.left.png', image],
        ['a.right.png', other],
        ['a.txt', 'one'],
      ],
    },
    settings: { imageMember: 'right.png' },
    documents: ['⟨s.tar a.right.png⟩one'],
    leftOut: { 'captioned/s.tar a.left.png': 'it is neither the image nor the caption of its sample' },
  },
  {
    name: 'choose one of two captions',
    files: {
      's.tar': [
        ['a.png', image],
        ['a.long.txt', 'long'],
        ['a.short.txt', 'short'],
      ],
    },
    settings: { captionMember: 'short.txt' },
    documents: ['⟨s.tar a.png⟩short'],
  },
  {
    name: 'may be written with a dot and in another case',
    files: {
      's.tar': [
        ['a.INPUT.PNG', image],
        ['a.txt', 'one'],
      ],
    },
    settings: { imageMember: '.input.png' },
    documents: ['⟨s.tar a.INPUT.PNG⟩one'],
  },
  {
    name: 'may be an image under any extension',
    files: {
      's.tar': [
        ['a.pixels.bin', image],
        ['a.thumb.png', other],
        ['a.txt', 'one'],
      ],
    },
    settings: { imageMember: 'pixels.bin' },
    documents: ['⟨s.tar a.pixels.bin⟩one'],
  },
  {
    name: 'are refused with the members there are',
    files: { 's.tar': pair('a') },
    settings: { imageMember: 'jpg' },
    refused: /the sample a in .* has no member jpg \(its members: png, txt\)/,
  },
]);

rows('the key of a sample', 'captioned', [
  {
    name: 'ends at the first dot',
    files: {
      's.tar': [
        ['2024.01.png', image],
        ['2024.txt', 'one'],
      ],
    },
    documents: ['⟨s.tar 2024.01.png⟩one'],
  },
  {
    name: 'ends at the last dot where the setting says so',
    files: { 's.tar': [...pair('2024.01', 'one'), ...pair('2024.02', 'two')] },
    settings: { keyEndsAt: 'lastDot' },
    documents: ['⟨s.tar 2024.01.png⟩one', '⟨s.tar 2024.02.png⟩two'],
  },
  {
    name: 'does not end in the name of a folder',
    files: { 's.tar': [...pair('v1.2/a', 'one'), ...pair('v1.2/b', 'two')] },
    documents: ['⟨s.tar v1.2/a.png⟩one', '⟨s.tar v1.2/b.png⟩two'],
  },
  {
    name: 'does not end in the name of a folder, at the last dot neither',
    files: { 's.tar': [...pair('v1.2/a.x', 'one'), ['v1.2/noextension', 'x']] },
    settings: { keyEndsAt: 'lastDot' },
    documents: ['⟨s.tar v1.2/a.x.png⟩one'],
    leftOut: { 'captioned/s.tar v1.2/noextension': 'its name has no extension' },
  },
  {
    name: 'makes a mask a sample of its own at the last dot, which is refused',
    files: { 's.tar': [['a.mask.png', image], ...pair('a')] },
    settings: { keyEndsAt: 'lastDot' },
    refused: /the sample a\.mask in .* has no caption/,
  },
]);

rows('a sample that is there twice', 'captioned', [
  {
    name: 'is read once, and counted',
    files: { 's.tar': [...pair('a'), ...pair('b'), ...pair('a')] },
    documents: ['⟨s.tar a.png⟩a', '⟨s.tar b.png⟩b'],
    leftOut: { 'captioned/s.tar a': 'the same sample comes before it in its shard' },
  },
  {
    name: 'is another one where its caption differs',
    files: { 's.tar': [...pair('a', 'one'), ...pair('b'), ...pair('a', 'two')] },
    documents: ['⟨s.tar a.png⟩one', '⟨s.tar b.png⟩b', '⟨s.tar a.png⟩two'],
  },
  {
    name: 'is another one where its image differs',
    files: { 's.tar': [...pair('a', 'x'), ...pair('b'), ['a.png', Buffer.concat([image, image])], ['a.txt', 'x']] },
    documents: ['⟨s.tar a.png⟩x', '⟨s.tar b.png⟩b', '⟨s.tar a.png⟩x'],
  },
  {
    name: 'is another one in another shard, where keys begin anew',
    files: { 's.tar': pair('a'), 't.tar': pair('a') },
    documents: ['⟨s.tar a.png⟩a', '⟨t.tar a.png⟩a'],
  },
  {
    name: 'is refused where only a member is appended',
    files: { 's.tar': [...pair('a'), ...pair('b'), ['a.png', image]] },
    refused: /^a\.png in .* comes a second time, apart from its sample/,
  },
]);

rows('a bad sample that may be left out', 'captioned', [
  {
    name: 'lacks its caption',
    files: { 's.tar': [...pair('a'), ['b.png', image], ...pair('c')] },
    settings: { badSamples: 'skip' },
    documents: ['⟨s.tar a.png⟩a', '⟨s.tar c.png⟩c'],
    leftOut: { 'captioned/s.tar b': 'it has no caption' },
  },
  {
    name: 'has an image that cannot be decoded',
    files: { 's.tar': [...pair('a'), ['b.png', image.subarray(0, 40)], ['b.txt', 'b'], ...pair('c')] },
    settings: { badSamples: 'skip' },
    documents: ['⟨s.tar a.png⟩a', '⟨s.tar c.png⟩c'],
    leftOut: { 'captioned/s.tar b': 'its image cannot be decoded' },
  },
  {
    name: 'has a caption that is no UTF-8',
    files: { 's.tar': [['a.png', image], ['a.txt', Uint8Array.of(0x61, 0xff)], ...pair('b')] },
    settings: { badSamples: 'skip' },
    documents: ['⟨s.tar b.png⟩b'],
    leftOut: { 'captioned/s.tar a': 'a.txt is not UTF-8 text' },
  },
  {
    name: 'has a member twice',
    files: { 's.tar': [...pair('a'), ['a.png', image], ...pair('b')] },
    settings: { badSamples: 'skip' },
    documents: ['⟨s.tar b.png⟩b'],
  },
  {
    name: 'has a description that is no JSON',
    files: { 's.tar': [['a.png', image], ['a.json', '{"caption"'], ...pair('b')] },
    settings: { badSamples: 'skip' },
    documents: ['⟨s.tar b.png⟩b'],
    leftOut: { 'captioned/s.tar a': 'a.json is not JSON' },
  },
  {
    name: 'is refused without the setting, with the way out',
    files: { 's.tar': [...pair('a'), ['b.png', image]] },
    refused: /the sample b in .* has no caption/,
  },
  {
    name: 'is refused where too many come in a row',
    files: { 's.tar': [...pair('a'), ['b.png', image], ['c.png', image], ['d.png', image]] },
    settings: { badSamples: 'skip', longestBadRun: 2 },
    refused:
      /3 samples of captioned in a row cannot be read, more than .*longestBadRun allows \(2\); the last: the sample d/,
  },
  {
    name: 'is refused where too large a share is bad',
    files: { 's.tar': [...pair('a'), ...Array.from({ length: 11 }, (_, i) => [`x${i}.png`, image] as const)] },
    settings: { badSamples: 'skip', largestBadShare: 0.5 },
    refused: /11 of 12 samples of captioned \(91 %\) cannot be read, more than .*largestBadShare allows \(0\.5\)/,
  },
]);

/** The cases that were reported; `scripts/field-cases.mjs` runs them on the command line. */
const REPORTED =
  process.env.WEFT_FIELD_CASES ?? fileURLToPath(new URL('../../../../../shared/field-cases/out', import.meta.url));

describe.skipIf(!existsSync(REPORTED))('the reported cases', () => {
  type Case = [name: string, kind: SourceKind, expected: number | RegExp, settings?: Partial<DatasetSettings>];
  const cases: Case[] = [
    ['wds-out-of-order', 'captioned', /do not lie side by side/],
    ['wds-appended-duplicate', 'captioned', /comes a second time/],
    ['wds-one-bad-sample', 'captioned', /c005 .* has no caption/],
    ['wds-one-bad-sample', 'captioned', 5, { badSamples: 'skip' }],
    ['wds-named-fields', 'captioned', 3],
    ['wds-json-nan', 'captioned', 3],
    ['wds-caption-field', 'captioned', /TEXT/],
    ['wds-caption-field', 'captioned', 3, { captionField: 'TEXT' }],
    ['wds-mask-beside-image', 'captioned', 3],
    ['wds-nested-folder-of-shards', 'captioned', 9],
    ['wds-unknown-image-extension', 'captioned', 3],
    ['image-extraneous-bytes', 'captioned', 3],
    ['image-upscale-shift', 'captioned', 1],
    ['mmc4-native', 'interleaved', 1],
    ['interleaved-missing-image', 'interleaved', /"0\.png"/],
    ['interleaved-missing-image', 'interleaved', 1, { badSamples: 'skip' }],
    ['llava-conversation', 'interleaved', /LLaVA/],
    ['rows-without-target', 'interleaved', 1],
    ['text-unknown-extensions', 'text', 8],
    ['text-json-nan', 'text', 2],
    ['text-other-field', 'text', /content/],
    ['text-other-field', 'text', 1, { textField: 'content' }],
    ['path-with-hash/a #b', 'captioned', 2],
  ];
  it.each(cases)('%s, %s: %s', async (...row) => {
    const [name, kind, expected, settings = {}] = row as Case;
    await using folder = await temporaryDirectory();
    await cp(join(REPORTED, name, kind), join(folder.path, kind), { recursive: true, mode: 0 });
    const indexing = indexDataset(fieldConfig(folder.path, kind, settings));
    if (typeof expected === 'number') expect((await indexing).sources[kind]?.documents).toBe(expected);
    else await expect(indexing).rejects.toThrow(expected);
  });

  it('are all in the table', () => {
    const own = new Set(['tokenizer-unigram-byte-fallback', 'tokenizer-unigram-long-text', 'special-token-in-text']);
    const names = readdirSync(REPORTED).filter((name) => !own.has(name));
    expect(names.filter((name) => !cases.some(([known]) => known.split('/')[0] === name))).toEqual([]);
  });
});
