import { WeftError } from '@weft/common';
import sharp from 'sharp';
import { readTarball } from './read-tarball.js';
import type { SampleMembers } from './write-shards.js';

/** The fields of an entry of `countries.json` that the demo uses. */
interface Country {
  readonly name: { readonly common: string; readonly official: string };
  readonly cca3: string;
  readonly independent: boolean | null;
  readonly currencies: Readonly<Record<string, { readonly name: string }>> | readonly never[];
  readonly capital: readonly string[];
  readonly region: string;
  readonly subregion: string;
  readonly languages: Readonly<Record<string, string>>;
  readonly landlocked: boolean;
  readonly borders: readonly string[];
  readonly area: number;
  readonly demonyms?: { readonly eng?: { readonly m: string } };
}

/** Of the rasterised flags, pixels; the width keeps the aspect ratio. */
const FLAG_HEIGHT = 64;

/**
 * Interleaved samples, one per country: its flag, facts, and its neighbours with their flags. The JSON member holds the
 * lists `texts` and `images`, one of which is null at each index.
 *
 * @throws WeftError `corrupt_data` naming the tarball
 */
export async function* countrySamples(tarball: string): AsyncGenerator<{ key: string; members: SampleMembers }> {
  const drawings = new Map<string, Buffer>();
  let countries: readonly Country[] | undefined;
  const isWanted = (name: string) => name === 'countries.json' || /^data\/[a-z]{3}\.svg$/.test(name);
  for await (const { name, content } of readTarball(tarball, isWanted)) {
    if (name === 'countries.json') countries = JSON.parse(content.toString('utf8')) as readonly Country[];
    else drawings.set(name.slice('data/'.length, -'.svg'.length).toUpperCase(), content);
  }
  if (countries === undefined) throw new WeftError('corrupt_data', `${tarball} holds no countries.json`);
  const byCode = new Map(countries.map((country) => [country.cca3, country]));
  const flags = new Map<string, Buffer>();
  const flagOf = async (code: string) => {
    const flag = flags.get(code) ?? (await rasterise(drawings.get(code), code, tarball));
    flags.set(code, flag);
    return flag;
  };
  for (const country of [...countries].sort((a, b) => (a.cca3 < b.cca3 ? -1 : 1))) {
    const neighbours = country.borders.flatMap((code) => byCode.get(code) ?? []);
    const texts: (string | null)[] = [];
    const images: (string | null)[] = [];
    const members: (readonly [string, string | Uint8Array])[] = [];
    const addText = (text: string) => {
      texts.push(text);
      images.push(null);
    };
    const addFlag = async (code: string) => {
      const extension = `${members.length}.png`;
      members.push([extension, await flagOf(code)]);
      texts.push(null);
      images.push(extension);
    };
    await addFlag(country.cca3);
    addText(facts(country));
    if (neighbours.length === 0) addText(' It has no land borders.');
    for (const [i, neighbour] of neighbours.entries()) {
      addText(i === 0 ? ' It borders ' : i === neighbours.length - 1 ? ' and ' : ', ');
      await addFlag(neighbour.cca3);
      addText(neighbour.name.common);
    }
    if (neighbours.length > 0) addText('.');
    yield { key: country.cca3.toLowerCase(), members: [...members, ['json', JSON.stringify({ texts, images })]] };
  }
}

function facts(country: Country): string {
  const { common, official } = country.name;
  const kind = country.independent === true ? 'country' : 'territory';
  const currencies = Object.values(country.currencies).map(({ name }) => name);
  const languages = Object.values(country.languages);
  const demonym = country.demonyms?.eng?.m;
  return [
    `The flag of ${common}${official === common ? '' : `, officially ${official}`}.`,
    `It is a ${country.landlocked ? 'landlocked ' : ''}${kind} in ${withArticle(country.subregion || country.region)}.`,
    country.capital.length > 0 ? `Its capital is ${listed(country.capital)}.` : '',
    languages.length > 0 ? `${languages.length === 1 ? 'Language' : 'Languages'}: ${listed(languages)}.` : '',
    currencies.length > 0 ? `Currency: ${listed(currencies)}.` : '',
    country.area > 0 ? `Its area is ${country.area.toLocaleString('en-US')} square kilometres.` : '',
    demonym ? `Its people are called ${demonym}.` : '',
  ]
    .filter((sentence) => sentence !== '')
    .join(' ');
}

function withArticle(region: string): string {
  return region === 'Caribbean' ? 'the Caribbean' : region;
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

async function rasterise(drawing: Buffer | undefined, code: string, tarball: string): Promise<Buffer> {
  if (drawing === undefined) throw new WeftError('corrupt_data', `${tarball} holds no flag of ${code}`);
  return sharp(drawing).resize({ height: FLAG_HEIGHT }).png({ compressionLevel: 9 }).toBuffer();
}
