import { WeftError } from '@weft/common';
import { permute } from '@weft/mixture';
import { readTarball } from './read-tarball.js';
import type { SampleMembers } from './write-shards.js';

/** The fields of an entry of `emoji.json` that the demo uses. */
interface Emoji {
  readonly name: string;
  readonly unified: string;
  readonly image: string;
  readonly short_names: readonly string[];
  readonly category: string;
  readonly subcategory: string;
  readonly sort_order: number;
  readonly skin_variations?: Readonly<Record<string, { readonly unified: string; readonly image: string }>>;
}

const IMAGES = 'img/google/64/';
const SKIN_TONES: Readonly<Record<string, string>> = {
  '1F3FB': 'light skin tone',
  '1F3FC': 'medium-light skin tone',
  '1F3FD': 'medium skin tone',
  '1F3FE': 'medium-dark skin tone',
  '1F3FF': 'dark skin tone',
};

/**
 * Captioned samples: every emoji and skin tone as a 64-pixel PNG, a caption with name and keywords, and the same as
 * JSON. Shuffled, so that a packed sequence does not hold variations of one emoji.
 *
 * @throws WeftError `corrupt_data` naming the tarball
 */
export async function* emojiSamples(tarball: string): AsyncGenerator<{ key: string; members: SampleMembers }> {
  const images = new Map<string, Buffer>();
  let list: readonly Emoji[] | undefined;
  for await (const { name, content } of readTarball(
    tarball,
    (name) => name === 'emoji.json' || name.startsWith(IMAGES),
  )) {
    if (name === 'emoji.json') list = JSON.parse(content.toString('utf8')) as readonly Emoji[];
    else images.set(name.slice(IMAGES.length), content);
  }
  if (list === undefined) throw new WeftError('corrupt_data', `${tarball} holds no emoji.json`);
  const variations = [...list]
    .sort((a, b) => a.sort_order - b.sort_order || (a.unified < b.unified ? -1 : 1))
    .flatMap(variationsOf)
    .filter(({ image }) => images.has(image));
  for (let i = 0; i < variations.length; i++) {
    const { image, ...description } = variations[permute(i, variations.length, 'emoji')]!;
    const { name, keywords } = description;
    yield {
      key: image.replace(/\.png$/, ''),
      members: [
        ['png', images.get(image)!],
        ['txt', `${name}. Keywords: ${keywords.join(', ')}.`],
        ['json', JSON.stringify(description)],
      ],
    };
  }
}

function variationsOf(emoji: Emoji) {
  const name = readableName(emoji.name);
  const keywords = [...new Set([...emoji.short_names, emoji.subcategory].map(asWords))].filter((word) => word !== name);
  const describe = (unified: string, image: string, full: string) => ({
    image,
    name: full,
    keywords,
    category: emoji.category,
    emoji: String.fromCodePoint(...unified.split('-').map((code) => Number.parseInt(code, 16))),
  });
  return [
    describe(emoji.unified, emoji.image, name),
    ...Object.entries(emoji.skin_variations ?? {}).map(([tones, { unified, image }]) => {
      const toneNames = [...new Set(tones.split('-').map((tone) => SKIN_TONES[tone] ?? tone))].join(' and ');
      return describe(unified, image, `${name}, ${toneNames}`);
    }),
  ];
}

/** Unicode names are in capitals; names of flags are not and stay as they are. */
function readableName(name: string): string {
  return name === name.toUpperCase() ? name.toLowerCase() : name;
}

function asWords(name: string): string {
  return name.replace(/[_-]+/g, ' ').trim().toLowerCase();
}
