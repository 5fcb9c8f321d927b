import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Random } from '@weft/common';
import { TarWriter } from '@weft/data';
import sharp from 'sharp';

/** Words of captions; each is a token. */
const WORDS =
  'a the of in on with and two three small large red green blue old young dark bright dog cat horse bird man woman child tree house car boat road river sea sky snow field street table chair window door lamp book cup plate fruit bread stone grass flower cloud light shadow morning evening'.split(
    ' ',
  );
const LETTERS = 'abcdefghijklmnopqrstuvwxyz'.split('');
/** Different pictures; each is in the shards several times. */
const PICTURES = 200;
const SAMPLES_PER_SHARD = 500;
const NOISE = 24;
const ROUGH_SIDE = 24;

/** Photographs, as far as a decoder is concerned: 512 × 384 pixels, some 40 KiB each, with captions of 8 to 16 words. */
export async function writePictures(folder: string, samples: number): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const random = Random.of('pictures of the bench');
  const pictures: Buffer[] = [];
  for (let i = 0; i < PICTURES; i++) pictures.push(await picture(random));
  const shards: string[] = [];
  for (let first = 0; first < samples; first += SAMPLES_PER_SHARD) {
    const path = join(folder, `${`${shards.length}`.padStart(5, '0')}.tar`);
    const writer = await TarWriter.create(path);
    for (let sample = first; sample < Math.min(samples, first + SAMPLES_PER_SHARD); sample++) {
      const key = `${sample}`.padStart(9, '0');
      const words = Array.from({ length: 8 + random.below(9) }, () => WORDS[random.below(WORDS.length)]);
      await writer.add(`${key}.jpg`, pictures[random.below(PICTURES)] ?? Buffer.alloc(0));
      await writer.add(`${key}.txt`, Buffer.from(words.join(' ')));
    }
    await writer.finish();
    shards.push(path);
  }
  return shards;
}

async function picture(random: Random): Promise<Buffer> {
  const [width, height] = [512, 384];
  const raw = (data: Uint8Array, w: number, h: number) => sharp(data, { raw: { width: w, height: h, channels: 3 } });
  const rough = Uint8Array.from({ length: ROUGH_SIDE * ROUGH_SIDE * 3 }, () => random.below(256));
  const smooth = await raw(rough, ROUGH_SIDE, ROUGH_SIDE).resize(width, height, { fit: 'fill' }).raw().toBuffer();
  const grainy = Uint8Array.from(smooth, (value) =>
    Math.min(255, Math.max(0, value + random.below(NOISE) - NOISE / 2)),
  );
  return await raw(grainy, width, height).jpeg({ quality: 85 }).toBuffer();
}

/** So many shards of text of one line. */
export async function writeLines(folder: string, shards: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (let i = 0; i < shards; i++)
    await writeFile(
      join(folder, `${`${i}`.padStart(6, '0')}.jsonl`),
      `${JSON.stringify({ text: `line ${i} of many shards, each of which holds one document` })}\n`,
    );
}

/** A tokenizer that both Weft and Python's `tokenizers` read: WordPiece. */
export async function writeTokenizer(path: string): Promise<void> {
  const tokens = [
    '[UNK]',
    '[SEP]',
    ...WORDS,
    ...LETTERS.filter((letter) => !WORDS.includes(letter)),
    ...LETTERS.map((letter) => `##${letter}`),
  ];
  const description = {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null },
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: null,
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    },
  };
  await writeFile(path, JSON.stringify(description));
}
