// The data of `npm run mm1-demo`, made of the pictures of emoji in the demo data: captions for the encoder, pages of pictures in
// three languages for the multimodal model, conversations for its fine-tuning, and questions about pictures that none of these show.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The shares of English, German and Italian pages: English, which the questions ask for, is the rarest. */
const SHARES = [0.2, 0.4, 0.4];
/**
 * What a kind of picture is called. A page keeps to one language, so that pictures with their answers tell which.
 *
 * @type {Readonly<Record<string, readonly [string, string, string]>>}
 */
const WORDS = {
  'Animals & Nature': ['animal', 'Tier', 'animale'],
  'Food & Drink': ['food', 'Essen', 'cibo'],
  'People & Body': ['person', 'Mensch', 'umano'],
  'Travel & Places': ['travel', 'Reise', 'viaggio'],
  Symbols: ['symbol', 'Zeichen', 'simbolo'],
  'Smileys & Emotion': ['face', 'Gesicht', 'viso'],
  Objects: ['object', 'Ding', 'oggetto'],
  Flags: ['flag', 'Flagge', 'bandiera'],
  Activities: ['game', 'Spiel', 'gioco'],
};
const QUESTION = 'Kind:';
const PICTURES_OF_A_PAGE = 9;
/** How much is made. */
const SIZES = { pages: 2500, conversations: 800 };
/** A part of the names is in no training data, with all skin tones of each. */
const HELD_OUT_SHARE = 0.12;
const EXAMPLES_OF_A_KIND = 12;
/** Raised when anything here changes: the data are then made anew. */
const VERSION = 1;

/** One grey pixel: the same for every question, so it tells nothing. */
const GREY = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==',
  'base64',
);

/**
 * @typedef {{ key: string; png: Buffer; caption: string; name: string; category: string }} Picture
 */

/**
 * Makes the data, unless they are there.
 *
 * @param {string} demo the folder of the demo data
 * @param {string} directory where they go
 * @param {typeof SIZES} [sizes]
 * @returns {Promise<string>} what there is, for the line of the stage
 */
export async function makeDemoData(demo, directory, sizes = SIZES) {
  const marker = join(directory, `version-${VERSION}`);
  if (existsSync(marker)) return 'already there';
  const { ShardFile, TarWriter } = await import('../../../packages/data/dist/index.js');
  const half = `${directory}.partial`;
  for (const folder of [directory, half]) rmSync(folder, { recursive: true, force: true });
  const pictures = await readPictures(join(demo, 'captioned'), ShardFile);
  const isHeldOut = (/** @type {Picture} */ { name }) => chance(`held out ${familyOf(name)}`) < HELD_OUT_SHARE;
  const train = pictures.filter((picture) => !isHeldOut(picture));
  const tar = async (
    /** @type {string} */ path,
    /** @type {Iterable<readonly [string, string | Buffer]>} */ members,
  ) => {
    mkdirSync(join(half, path, '..'), { recursive: true });
    const writer = await TarWriter.create(join(half, path));
    for (const [name, content] of members) await writer.add(name, Buffer.from(content));
    await writer.finish();
  };
  await tar('captions/emoji-00000.tar', captionMembers(train));
  await tar('pages/pages-00000.tar', pageMembers(train, sizes.pages));
  await tar(
    'chats/pictures-00000.tar',
    train.map(({ key, png }) => /** @type {const} */ ([`${key}.png`, png])),
  );
  writeFileSync(join(half, 'chats/chats-00000.jsonl'), conversationLines(train, sizes.conversations));
  const examples = heldOutExamples(pictures.filter(isHeldOut));
  mkdirSync(join(half, 'held-out'));
  for (const { key, png } of examples) writeFileSync(join(half, 'held-out', `${key}.png`), png);
  mkdirSync(join(half, 'blank'));
  for (const { key } of examples) writeFileSync(join(half, 'blank', `${key}.png`), GREY);
  writeFileSync(join(half, 'kinds.json'), questions(examples, examples));
  writeFileSync(join(half, 'kinds-shuffled.json'), questions(examples, shuffled(examples)));
  writeFileSync(join(half, `version-${VERSION}`), '');
  renameSync(half, directory);
  return `${train.length} pictures to train on, ${sizes.pages} pages, ${sizes.conversations} conversations, ${examples.length} held-out questions`;
}

/**
 * @param {string} folder
 * @param {{ open(path: string): Promise<any> }} ShardFile
 * @returns {Promise<Picture[]>}
 */
async function readPictures(folder, ShardFile) {
  /** @type {Map<string, Record<string, Buffer>>} */
  const samples = new Map();
  for (const name of readdirSync(folder)
    .filter((each) => each.endsWith('.tar'))
    .toSorted()) {
    const shard = await ShardFile.open(join(folder, name));
    for await (const entry of shard.entries()) {
      const dot = entry.name.lastIndexOf('.');
      const key = entry.name.slice(0, dot);
      samples.set(key, {
        ...samples.get(key),
        [entry.name.slice(dot + 1)]: await shard.read(entry.offset, entry.bytes),
      });
    }
    await shard.close();
  }
  return [...samples].flatMap(([key, { png, txt, json }]) => {
    const { name, category } = JSON.parse(String(json));
    return png === undefined || WORDS[category] === undefined
      ? []
      : [{ key, png, caption: String(txt), name, category }];
  });
}

/** @param {readonly Picture[]} pictures */
function* captionMembers(pictures) {
  for (const { key, png, caption } of pictures) {
    yield/** @type {const} */ ([`${key}.png`, png]);
    yield/** @type {const} */ ([`${key}.txt`, caption]);
  }
}

/** @param {readonly Picture[]} pictures @param {number} pages */
function* pageMembers(pictures, pages) {
  const random = seeded(1);
  const draw = drawer(pictures, random);
  for (let page = 0; page < pages; page++) {
    const key = String(page).padStart(5, '0');
    const language = drawLanguage(random);
    const drawn = Array.from({ length: PICTURES_OF_A_PAGE }, draw);
    for (const [i, { png }] of drawn.entries()) yield/** @type {const} */ ([`${key}.${i}.png`, png]);
    const texts = drawn.flatMap(({ category }) => [null, ` ${QUESTION} ${WORDS[category]?.[language]}\n`]);
    const images = drawn.flatMap((_, i) => [`${i}.png`, null]);
    yield/** @type {const} */ ([`${key}.json`, JSON.stringify({ texts, images })]);
  }
}

/**
 * Conversations of several turns, each about a picture and all in one language.
 *
 * @param {readonly Picture[]} pictures
 * @param {number} count
 */
function conversationLines(pictures, count) {
  const random = seeded(2);
  const draw = drawer(pictures, random);
  const lines = Array.from({ length: count }, (_, id) => {
    const language = drawLanguage(random);
    const drawn = Array.from({ length: PICTURES_OF_A_PAGE }, draw);
    const conversations = drawn.flatMap(({ category }) => [
      { from: 'human', value: `<image> ${QUESTION}` },
      { from: 'gpt', value: WORDS[category]?.[language] },
    ]);
    return JSON.stringify({ id: `${id}`, image: drawn.map(({ key }) => `${key}.png`), conversations });
  });
  return `${lines.join('\n')}\n`;
}

/**
 * As many of every kind, in an order that mixes them.
 *
 * @param {readonly Picture[]} pictures
 */
function heldOutExamples(pictures) {
  const ordered = pictures.toSorted((a, b) => chance(a.key) - chance(b.key));
  const firstOfFamily = ordered.filter(
    (picture, i) => ordered.findIndex(({ name }) => familyOf(name) === familyOf(picture.name)) === i,
  );
  return Object.keys(WORDS)
    .flatMap((kind) => firstOfFamily.filter(({ category }) => category === kind).slice(0, EXAMPLES_OF_A_KIND))
    .toSorted((a, b) => chance(`order ${a.key}`) - chance(`order ${b.key}`));
}

/**
 * In the form of GQA. The answer is the English one.
 *
 * @param {readonly Picture[]} examples
 * @param {readonly Picture[]} shown the picture of each question
 */
function questions(examples, shown) {
  return JSON.stringify(
    Object.fromEntries(
      examples.map(({ key, category }, i) => [
        key,
        { imageId: shown[i]?.key, question: QUESTION, answer: WORDS[category]?.[0] },
      ]),
    ),
  );
}

/** @param {readonly Picture[]} examples */
const shuffled = (examples) => examples.toSorted((a, b) => chance(`shuffle ${a.key}`) - chance(`shuffle ${b.key}`));

const familyOf = (/** @type {string} */ name) => name.split(',')[0];

/** A number of [0, 1) for a text. @param {string} text */
const chance = (text) => createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32;

/** @param {number} seed */
function seeded(seed) {
  let n = 0;
  return () => chance(`${seed}/${n++}`);
}

/**
 * A picture of any kind, all kinds being as likely.
 *
 * @param {readonly Picture[]} pictures
 * @param {() => number} random
 */
function drawer(pictures, random) {
  const kinds = Object.keys(WORDS).map((kind) => pictures.filter(({ category }) => category === kind));
  return () => {
    const kind = kinds[Math.floor(random() * kinds.length)] ?? [];
    return /** @type {Picture} */ (kind[Math.floor(random() * kind.length)]);
  };
}

/** @param {() => number} random */
function drawLanguage(random) {
  const at = random();
  return /** @type {0 | 1 | 2} */ (at < (SHARES[0] ?? 0) ? 0 : at < (SHARES[0] ?? 0) + (SHARES[1] ?? 0) ? 1 : 2);
}
