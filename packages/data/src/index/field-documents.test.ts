import { gzipSync } from 'node:zlib';
import { image, json, other, rows } from '../testing/field-rows.js';

const document = (texts: readonly (string | null)[], images: readonly (string | null)[]) => json({ texts, images });

rows('interleaved documents as MMC4 publishes them', 'interleaved', [
  {
    name: 'have their images before the texts they match',
    files: {
      's.tar': [
        ['d.0.png', image],
        ['d.1.png', image],
        [
          'd.json',
          json({
            text_list: ['one', 'two', 'three'],
            image_info: [
              { image_name: '0.png', matched_text_index: 1, matched_sim: 0.3 },
              { image_name: '1.png', matched_text_index: 1 },
            ],
          }),
        ],
      ],
    },
    documents: ['one⟨s.tar d.0.png⟩⟨s.tar d.1.png⟩twothree'],
  },
  {
    name: 'are lines beside a folder of images',
    files: {
      'docs.jsonl': `${json({ text_list: ['a', 'b'], image_info: [{ image_name: 'x.png', matched_text_index: 0 }] })}\n`,
      'images/x.png': image,
    },
    documents: ['⟨images/x.png⟩ab'],
  },
  {
    name: 'are packed lines beside an archive of images',
    files: {
      'docs.jsonl.gz': gzipSync(
        json({ text_list: ['a', 'b'], image_info: [{ image_name: 'x.png', matched_text_index: 1 }] }),
      ),
      'images.tar': [
        ['x.png', image],
        ['y.png', other],
      ],
    },
    documents: ['a⟨images.tar x.png⟩b'],
    leftOut: { 'interleaved/y.png': 'no document names it' },
  },
  {
    name: 'may have no image',
    files: { 's.tar': [['d.json', json({ text_list: ['a', 'b'], image_info: [] })]] },
    documents: ['ab'],
  },
  {
    name: 'may name an image by its URL',
    files: {
      's.tar': [
        ['d.cat.png', image],
        [
          'd.json',
          json({ text_list: ['a'], image_info: [{ raw_url: 'https://x.org/cat.png?w=1', matched_text_index: 0 }] }),
        ],
      ],
    },
    documents: ['⟨s.tar d.cat.png⟩a'],
  },
  {
    name: 'are refused where an image matches no text',
    files: {
      's.tar': [
        ['d.0.png', image],
        ['d.json', json({ text_list: ['a'], image_info: [{ image_name: '0.png', matched_text_index: 4 }] })],
      ],
    },
    refused: /the sample d in .* \(MMC4\) has at index 0 of "image_info" no "matched_text_index" from 0 to 0/,
  },
]);

rows('interleaved documents as OBELICS publishes them', 'interleaved', [
  {
    name: 'lie with their images in an archive',
    files: {
      's.tar': [
        ['d.0.png', image],
        ['d.json', document(['a', null, 'b'], [null, '0.png', null])],
      ],
    },
    documents: ['a⟨s.tar d.0.png⟩b'],
  },
  {
    name: 'name images by URLs that wget kept',
    files: {
      'docs.jsonl': document([null, 'b'], ['https://x.org/p/a.png', null]),
      'x.org/p/a.png': image,
    },
    documents: ['⟨x.org/p/a.png⟩b'],
  },
  {
    name: 'name images by URLs that img2dataset keeps beside them',
    files: {
      'docs.jsonl': document([null, 'b'], ['https://x.org/p?id=7', null]),
      '00000.tar': [
        ['000.png', image],
        ['000.json', json({ url: 'https://x.org/p?id=7' })],
      ],
    },
    documents: ['⟨00000.tar 000.png⟩b'],
  },
  {
    name: 'name images by URLs whose file names are there once',
    files: { 'docs.ndjson': document([null, 'b'], ['https://x.org/a/b/cat.png#x', null]), 'all/cat.png': image },
    documents: ['⟨all/cat.png⟩b'],
  },
  {
    name: 'are refused for an image that was not fetched',
    files: { 'docs.jsonl': document([null, 'b'], ['https://x.org/gone.png', null]), 'images/x.png': image },
    refused: /line 1 of .* names the image "https:\/\/x\.org\/gone\.png", which is neither a file in/,
  },
  {
    name: 'are left out for an image that was not fetched, where the setting says so',
    files: {
      'docs.jsonl': [document([null, 'b'], ['https://x.org/gone.png', null]), document(['whole'], [null])].join('\n'),
    },
    settings: { badSamples: 'skip' },
    documents: ['whole'],
    leftOut: { 'interleaved/docs.jsonl line 1': 'it names an image' },
  },
  {
    name: 'are refused with both a text and an image at one index',
    files: {
      's.tar': [
        ['d.0.png', image],
        ['d.json', document(['a'], ['0.png'])],
      ],
    },
    refused: /the sample d in .* has at index 0 neither a text alone nor an image alone/,
  },
]);

/** A conversation in the default template is its turns, one after the other. */
const turns = (...values: readonly string[]) =>
  values.map((value, i) => ({ from: i % 2 === 0 ? 'human' : 'gpt', value }));

rows('conversations as LLaVA publishes them', 'conversations', [
  {
    name: 'are a list beside a folder of images',
    files: {
      'llava.json': json([{ image: 'a.png', conversations: turns('<image>\nWhat?', 'Red.') }]),
      'images/a.png': image,
    },
    documents: ['USER: ⟨images/a.png⟩\nWhat?\nASSISTANT: Red.'],
  },
  {
    name: 'lie with their images in an archive',
    files: {
      's.tar': [
        ['d.0.png', image],
        ['d.json', json({ image: '0.png', conversations: turns('<image>Q', 'A') })],
      ],
    },
    documents: ['USER: ⟨s.tar d.0.png⟩Q\nASSISTANT: A'],
  },
  {
    name: 'are lines of messages, packed',
    files: {
      'm.jsonl.gz': gzipSync(
        json({
          messages: [
            { role: 'user', content: 'Q' },
            { role: 'assistant', content: 'A' },
          ],
        }),
      ),
    },
    documents: ['USER: Q\nASSISTANT: A'],
  },
  {
    name: 'may have no image',
    files: { 'x.json': json([{ id: 1, conversations: turns('Q', 'A') }]) },
    documents: ['USER: Q\nASSISTANT: A'],
  },
  {
    name: 'are left out one by one where the setting says so',
    files: {
      'x.jsonl': [
        json({ conversations: turns('Q', 'A') }),
        json({ image: 'no.png', conversations: turns('<image>', 'A') }),
        '{',
      ].join('\n'),
    },
    settings: { badSamples: 'skip' },
    documents: ['USER: Q\nASSISTANT: A'],
    leftOut: { 'conversations/x.jsonl line 2': 'it names an image', 'conversations/x.jsonl line 3': 'it is not JSON' },
  },
  {
    name: 'are refused where an archive lacks the image',
    files: { 's.tar': [['d.json', json({ image: '0.png', conversations: turns('<image>Q', 'A') })]] },
    refused: /the sample d in .* names the image "0\.png"/,
  },
]);

const line = (text: string, field = 'text') => `${json({ [field]: text })}\n`;

rows('a text in a field of its own', 'text', [
  {
    name: 'is read from lines',
    files: { 'a.jsonl': line('one', 'content') },
    settings: { textField: 'content' },
    documents: ['one'],
  },
  {
    name: 'is read from a list',
    files: { 'a.json': json([{ body: 'one' }, { body: 'two', text: 'no' }]) },
    settings: { textField: 'body' },
    documents: ['one', 'two'],
  },
  {
    name: 'is read from packed lines',
    files: { 'a.ndjson.gz': gzipSync(line('one', 'content')) },
    settings: { textField: 'content' },
    documents: ['one'],
  },
  {
    name: 'is read beside whole files',
    files: { 'a.jsonl': line('one', 'raw'), 'b.txt': 'two' },
    settings: { textField: 'raw' },
    documents: ['one', 'two'],
  },
  {
    name: 'is asked for with the fields there are',
    files: { 'a.jsonl': line('one', 'content') },
    refused: /it has content/,
  },
  {
    name: 'may be called as what every object has',
    files: { 'a.jsonl': line('x') },
    settings: { textField: 'constructor' },
    refused: /has no field "constructor" that is a string; it has text/,
  },
]);

rows('a bad text that may be left out', 'text', [
  {
    name: 'is no JSON',
    files: { 'a.jsonl': `${line('one')}oops\n${line('two')}` },
    settings: { badSamples: 'skip' },
    documents: ['one', 'two'],
    leftOut: { 'text/a.jsonl line 2': 'it is not JSON' },
  },
  {
    name: 'lacks its field',
    files: { 'a.jsonl': `${line('one')}{"body":"x"}\n` },
    settings: { badSamples: 'skip' },
    documents: ['one'],
    leftOut: { 'text/a.jsonl line 2': 'it has no field "text" that is a string' },
  },
  {
    name: 'is an element of a list',
    files: { 'a.json': '[{"text":"one"},7]' },
    settings: { badSamples: 'skip' },
    documents: ['one'],
    leftOut: { 'text/a.json element 2': 'it has no field "text" that is a string' },
  },
  {
    name: 'is a whole file that is not UTF-8',
    files: { 'a.txt': 'one', 'b.txt': Uint8Array.of(0x61, 0xff) },
    settings: { badSamples: 'skip' },
    documents: ['one'],
    leftOut: { 'text/b.txt': 'b.txt is not UTF-8 text (near byte 0)' },
  },
  {
    name: 'is refused without the setting',
    files: { 'a.jsonl': `${line('one')}oops\n` },
    refused: /line 2 of .*a\.jsonl is not JSON/,
  },
]);
