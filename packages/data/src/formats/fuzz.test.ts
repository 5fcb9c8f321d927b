import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { WeftError } from '@weft/common';
import { DEFAULT_CHAT_TEMPLATE, DEFAULT_DATASET, type SourceKind } from '@weft/config';
import { temporaryDirectory } from '@weft/testing';
import { tableFromArrays, tableToIPC } from 'apache-arrow';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { PARQUET } from '../testing/field-data.js';
import { png, writeTar } from '../testing/tiny-dataset.js';
import { decodeImage } from './decode-image.js';
import { openTokenizer } from './open-tokenizer.js';
import { ShardReader } from './source-shards.js';

/** `scripts/fuzz-data.mjs` asks for more. */
const CASES = Number(process.env.WEFT_FUZZ_CASES ?? 60);
/** The same cases every time, unless another seed is given. */
const OPTIONS = { numRuns: CASES, seed: Number(process.env.WEFT_FUZZ_SEED ?? 19) };
const TIMEOUT_MS = 20_000 + 100 * CASES;

/** A change of some bytes: how damage and malice look. */
const edit = fc.record({
  kind: fc.constantFrom('flip', 'set', 'cut', 'drop', 'repeat', 'zero'),
  at: fc.double({ min: 0, max: 0.999_999, noNaN: true }),
  value: fc.nat(255),
  length: fc.integer({ min: 1, max: 64 }),
});
const edits = fc.array(edit, { minLength: 1, maxLength: 6 });
type Edit = typeof edit extends fc.Arbitrary<infer Value> ? Value : never;

function mutated(content: Uint8Array, changes: readonly Edit[]): Buffer {
  let bytes = Buffer.from(content);
  for (const { kind, at, value, length } of changes) {
    const from = Math.floor(at * bytes.length);
    const end = Math.min(bytes.length, from + length);
    if (bytes.length === 0) break;
    if (kind === 'flip') bytes[from]! ^= 1 << (value & 7);
    else if (kind === 'set') bytes[from] = value;
    else if (kind === 'zero') bytes.fill(0, from, end);
    else if (kind === 'cut') bytes = bytes.subarray(0, from);
    else if (kind === 'drop') bytes = Buffer.concat([bytes.subarray(0, from), bytes.subarray(end)]);
    else bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(from)]);
  }
  return bytes;
}

/** Reads all of a dataset of one shard; what is wrong must be told in one sentence about the data. */
async function readShard(folder: string, name: string, kind: SourceKind): Promise<void> {
  const options = { folder, kind, shards: [name], settings: DEFAULT_DATASET, chatTemplate: DEFAULT_CHAT_TEMPLATE };
  try {
    const reader = await ShardReader.open(options);
    for await (const document of reader.documents(0, () => undefined)) {
      if ('problem' in document) checkSentence(document.problem);
      else for await (const part of document.parts) expect(part.kind).toBeTypeOf('string');
    }
  } catch (thrown) {
    checkSentence(thrown);
  }
}

function checkSentence(thrown: unknown): void {
  expect(thrown, String(thrown instanceof Error ? thrown.stack : thrown)).toBeInstanceOf(WeftError);
  expect(['corrupt_data', 'invalid_argument', 'not_found']).toContain((thrown as WeftError).code);
}

const lines = ['{"text":"one"}', '{"text":"two é 😀","score":NaN}', '{"text":"three","more":{"a":[1,2,{}]}}'].join(
  '\n',
);
const TEXTS = Array.from({ length: 20 }, (_, i) => `row ${i}`);
const conversation = '{"conversations":[{"from":"human","value":"Q"},{"from":"gpt","value":"A"}]}';
/** Of the program zstd. */
const ZSTD = 'KLUv/QRolQAAUHdlZnQgbG9vbSABACN194IEQorNFw==';

async function archive(members: Parameters<typeof writeTar>[1]): Promise<Buffer> {
  await using folder = await temporaryDirectory();
  const path = join(folder.path, 'x.tar');
  await writeTar(path, members);
  return await readFile(path);
}

describe('a damaged shard', () => {
  const pixel = () => png([9, 9, 9], 2, 2);
  const cases: readonly (readonly [name: string, kind: SourceKind, content: () => Promise<Uint8Array> | Uint8Array])[] =
    [
      ['a.jsonl', 'text', () => Buffer.from(lines)],
      ['a.json', 'text', () => Buffer.from(`[${lines.replaceAll('\n', ',').replace('NaN', '1')}]`)],
      ['a.txt', 'text', () => Buffer.from('plain é text\n'.repeat(40))],
      ['a.jsonl.gz', 'text', () => gzipSync(lines.repeat(20))],
      ['a.txt.zst', 'text', () => Buffer.from(ZSTD, 'base64')],
      ['a.parquet', 'text', () => Buffer.from(PARQUET, 'base64')],
      ['a.arrow', 'text', () => tableToIPC(tableFromArrays({ text: TEXTS }), 'stream')],
      ['b.arrow', 'text', () => tableToIPC(tableFromArrays({ text: TEXTS }), 'file')],
      ['c.jsonl', 'conversations', () => Buffer.from(conversation)],
      [
        'c.tar',
        'captioned',
        async () =>
          archive([
            ['a.png', await pixel()],
            ['a.txt', 'a'],
            ['b.png', await pixel()],
            ['b.json', '{"caption":"b"}'],
          ]),
      ],
      [
        'i.tar',
        'interleaved',
        async () =>
          archive([
            ['d.0.png', await pixel()],
            ['d.json', '{"texts":["a",null],"images":[null,"0.png"]}'],
          ]),
      ],
      [
        'v.tar',
        'conversations',
        async () =>
          archive([
            ['d.0.png', await pixel()],
            ['d.json', conversation],
          ]),
      ],
    ];
  it.each(cases)(
    'is read or refused in a sentence: %s of %s',
    async (name, kind, content) => {
      await using folder = await temporaryDirectory();
      const intact = await content();
      await fc.assert(
        fc.asyncProperty(edits, async (changes) => {
          await writeFile(join(folder.path, name), mutated(intact, changes));
          await readShard(folder.path, name, kind);
        }),
        // A file of Parquet starts a thread.
        name.endsWith('.parquet') ? { ...OPTIONS, numRuns: Math.ceil(CASES / 4) } : OPTIONS,
      );
    },
    TIMEOUT_MS,
  );
});

describe('a damaged image', () => {
  it.each(['png', 'jpeg', 'webp', 'gif', 'tiff'] as const)(
    'is decoded or refused: %s',
    async (format) => {
      const intact = await sharp(await png([9, 90, 200], 24, 16))
        .toFormat(format)
        .toBuffer();
      await fc.assert(
        fc.asyncProperty(edits, async (changes) => {
          const found = await decodeImage(mutated(intact, changes), 8).catch((thrown: unknown) => thrown);
          if (found instanceof Error) expect(found.message).not.toBe('');
          else expect(found).toHaveLength(8 * 8 * 3);
        }),
        OPTIONS,
      );
    },
    TIMEOUT_MS,
  );
});

describe('a damaged tokenizer', () => {
  const added = {
    id: 0,
    content: '</s>',
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
  const frame = { version: '1.0', added_tokens: [added], normalizer: null, post_processor: null };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' };
  it.each([
    [
      'BPE',
      {
        ...frame,
        pre_tokenizer: byteLevel,
        decoder: byteLevel,
        model: { type: 'BPE', vocab: { '</s>': 0, a: 1, b: 2, ab: 3, Ġ: 4 }, merges: ['a b'] },
      },
    ],
    [
      'Unigram',
      {
        ...frame,
        pre_tokenizer: metaspace,
        decoder: metaspace,
        model: {
          type: 'Unigram',
          unk_id: 0,
          vocab: [
            ['</s>', 0],
            ['▁', -1],
            ['a', -2],
            ['ab', -3],
          ],
        },
      },
    ],
    [
      'WordPiece',
      {
        ...frame,
        pre_tokenizer: { type: 'BertPreTokenizer' },
        decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
        model: {
          type: 'WordPiece',
          unk_token: '</s>',
          continuing_subword_prefix: '##',
          max_input_chars_per_word: 100,
          vocab: { '</s>': 0, a: 1, '##b': 2 },
        },
      },
    ],
  ])(
    'is opened and encodes, or is refused in a sentence: %s',
    async (_, description) => {
      await using folder = await temporaryDirectory();
      const path = join(folder.path, 'tokenizer.json');
      const intact = Buffer.from(JSON.stringify(description));
      await fc.assert(
        fc.asyncProperty(edits, async (changes) => {
          await writeFile(path, mutated(intact, changes));
          try {
            const ids = (await openTokenizer(path)).encode('ab a b </s> é');
            expect(ids.every((id) => Number.isInteger(id))).toBe(true);
          } catch (thrown) {
            checkSentence(thrown);
          }
        }),
        OPTIONS,
      );
    },
    TIMEOUT_MS,
  );
});
