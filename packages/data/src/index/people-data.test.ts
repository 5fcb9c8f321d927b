import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { temporaryDirectory } from '@weft/testing';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { type Members, png, tinyConfig, writeTar, writeTinyDataset } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';

/** A run over the sources that have weights. */
function runOver(directory: string, weights: { captioned?: number; interleaved?: number; text?: number }) {
  const config = tinyConfig(directory);
  return { ...config, data: { ...config.data, weights: { captioned: 0, interleaved: 0, text: 0, ...weights } } };
}

/** Writes files of the source `text`, by their paths below its folder. */
async function writeText(directory: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, 'text', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
}

/** The texts of all documents, sorted: what a run would see. */
async function textsOf(directory: string): Promise<string[]> {
  const config = runOver(directory, { text: 1 });
  await indexDataset(config);
  const dataset = await Dataset.open(config);
  try {
    const texts = new Map<number, string>();
    for (let i = 0; i < dataset.sequences.text!; i++)
      for (const { document, entries } of (await dataset.readSequence('text', i)).segments)
        texts.set(document, (texts.get(document) ?? '') + dataset.tokenizer.decode(entries));
    return [...texts.values()].sort();
  } finally {
    await dataset.close();
  }
}

const line = (text: string) => `${JSON.stringify({ text })}\n`;

describe('text as people have it', () => {
  it('is read from every name and form: any case, nested, gzip, lists, lines', async () => {
    await using folder = await temporaryDirectory();
    await writeText(folder.path, {
      'a.jsonl': line('a'),
      'b.ndjson': line('b'),
      'c.JSONL': line('c'),
      'd.jsonlines': line('d'),
      'e.json': line('e'),
      'f.TXT': 'f',
      'sub/deep/g.jsonl': line('g'),
      'h.jsonl.gz': gzipSync(line('h')),
      'i.txt.GZ': gzipSync('i'),
      'j.json.gz': gzipSync(line('j1') + line('j2')),
      'k.json': '\ufeff [{"text":"k1"},\n {"text":"k2"}]',
      'l.json': '[]',
      'm.jsonl.gz': Buffer.concat([gzipSync(line('m1')), gzipSync(line('m2'))]),
    });
    const texts = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j1', 'j2', 'k1', 'k2', 'm1', 'm2'];
    expect(await textsOf(folder.path)).toEqual(texts);
  });

  it('may hold the numbers that Python writes and JSON lacks', async () => {
    await using folder = await temporaryDirectory();
    await writeText(folder.path, {
      'a.jsonl': [
        '{"text":"one","score":NaN}',
        '{"text":"two","score":Infinity}',
        '{"score":[-Infinity, NaN],"text":"a NaN: NaN, \\"Infinity\\" \\\\"}',
        '{"text":"-Infinity","NaN":-Infinity}',
        '{"text":"\\"","a":NaN}',
      ].join('\n'),
    });
    expect(await textsOf(folder.path)).toEqual(['"', '-Infinity', 'a NaN: NaN, "Infinity" \\', 'one', 'two']);
  });

  it.each([
    ['a.jsonl', '{"content":"one"}\n', 'line 1 of .*a.jsonl has no field "text" that is a string; it has content'],
    ['a.JSON', '[{"text":"a"},{"body":1,"id":2}]', 'element 2 of .*a.JSON has no field "text".*; it has body, id'],
    ['a.json', '[{"text":"a"}', 'a.json is not JSON'],
    ['a.jsonl', '{"text":NaNa}', 'line 1 of .*a.jsonl is not JSON'],
    ['a.jsonl.gz', 'no gzip', 'a.jsonl.gz cannot be unpacked with gunzip: incorrect header check'],
    [
      'a.txt.gz',
      gzipSync('long enough a text').subarray(0, 20),
      'a.txt.gz cannot be unpacked with gunzip: unexpected end',
    ],
    ['a.jsonl.zst', 'x', 'a.jsonl.zst cannot be unpacked with zstd: unexpected end'],
    ['a.jsonl.xz', 'x', 'a.jsonl.xz is compressed'],
    ['a.csv.gz', gzipSync('x'), 'a.csv.gz is compressed'],
  ])('says what is wrong with %s that holds %j', async (name, content, message) => {
    await using folder = await temporaryDirectory();
    await writeText(folder.path, { [name]: content });
    await expect(indexDataset(runOver(folder.path, { text: 1 }))).rejects.toThrow(new RegExp(message));
  });
});

describe('what is left out of an index', () => {
  it('is named with its reason and counted: files, links and folders', async () => {
    await using folder = await temporaryDirectory();
    await writeText(folder.path, {
      'a.jsonl': `${line('a')}${line('')}`,
      'b.feather': 'ARROW1',
      'c.csv': 'x',
      'README.md': 'x',
      'notes/todo.md': 'x',
      '.DS_Store': 'x',
      'sub/d.zip': 'x',
      '../texts/e.jsonl': line('e'),
      '../f.jsonl': line('f'),
    });
    await symlink(join(folder.path, 'texts'), join(folder.path, 'text', 'link'));
    const config = runOver(folder.path, { text: 1 });
    const { leftOut, directory } = await indexDataset(config);
    expect(Object.fromEntries(leftOut.map(({ reason, names }) => [reason, names]))).toEqual({
      'it lies in the folder of no source (captioned, interleaved, text)': ['f.jsonl'],
      'it is no source of this run (captioned, interleaved, text)': ['texts/'],
      'its name begins with a dot': ['text/.DS_Store'],
      'documents of this format are not read: write their text as .txt or .jsonl': [
        'text/README.md',
        'text/notes/todo.md',
      ],
      'Feather is read where its name ends in .arrow': ['text/b.feather'],
      'tables are not read: write their text as .jsonl': ['text/c.csv'],
      'it is a link to a folder: move the folder here': ['text/link'],
      'it is compressed: unpack it': ['text/sub/d.zip'],
      'it holds neither text nor image': ['text/a.jsonl line 2'],
    });
    const lines = (await readFile(join(directory, 'left-out.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(lines).toHaveLength(10);
    expect(await indexDataset(config)).toMatchObject({ built: false, leftOut });
  });

  it('is no shard that is a link to nothing: that is refused', async () => {
    await using folder = await temporaryDirectory();
    await writeText(folder.path, { 'a.jsonl': line('a') });
    await symlink('/nowhere/b.jsonl', join(folder.path, 'text', 'b.jsonl'));
    await expect(indexDataset(runOver(folder.path, { text: 1 }))).rejects.toThrow(
      /text\/b\.jsonl is a link to a file that does not exist/,
    );
  });

  it('is counted where there is much of it, and all in the file', async () => {
    await using folder = await temporaryDirectory();
    const files = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`x/${i}.bin`, 'x']));
    await writeText(folder.path, { 'a.jsonl': line('a'), ...files });
    const { leftOut } = await indexDataset(runOver(folder.path, { text: 1 }));
    expect(leftOut).toMatchObject([{ count: 20, names: ['text/x/0.bin', 'text/x/1.bin', 'text/x/10.bin'] }]);
  });

  it('is not missed by an index of an older version, which stays valid beside it', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    const config = tinyConfig(folder.path);
    const { directory } = await indexDataset(config);
    await writeText(folder.path, { 'new.ndjson': line('n'), 'sub/new.jsonl': line('n') });
    await expect(Dataset.open(config)).rejects.toThrow('new.ndjson is not in the data index');
    await rm(join(directory, 'left-out.jsonl'));
    await (await Dataset.open(config)).close();
    expect((await indexDataset(config)).built).toBe(true);
  });
});

/** Indexes captioned samples of one shard and returns what the index says of them. */
async function captioned(directory: string, shards: Readonly<Record<string, Members>>) {
  for (const [name, members] of Object.entries(shards)) {
    await mkdir(dirname(join(directory, 'captioned', name)), { recursive: true });
    await writeTar(join(directory, 'captioned', name), members);
  }
  const config = runOver(directory, { captioned: 1 });
  const { sources, leftOut } = await indexDataset(config);
  const dataset = await Dataset.open(config);
  try {
    const captions: string[] = [];
    const images: string[] = [];
    for (let i = 0; i < dataset.sequences.captioned!; i++)
      for (const segment of (await dataset.readSequence('captioned', i)).segments) {
        captions.push(dataset.tokenizer.decode(segment.entries));
        for (const image of segment.images) images.push(await dataset.imageName('captioned', image));
      }
    return { documents: sources.captioned!.documents, captions: captions.sort(), images: images.sort(), leftOut };
  } finally {
    await dataset.close();
  }
}

describe('WebDataset shards as people have them', () => {
  const pictures = () => Promise.all(['png', 'jpeg', 'webp', 'gif', 'tiff'].map((format) => picture(format)));
  const picture = async (format: string) => {
    return await sharp(await png([9, 200, 40]))
      .toFormat(format as 'png')
      .toBuffer();
  };

  it('may have any case and lie in folders below', async () => {
    await using folder = await temporaryDirectory();
    const image = await png([1, 2, 3]);
    const pair = (key: string): Members => [
      [`${key}.png`, image],
      [`${key}.txt`, key],
    ];
    const { documents, captions } = await captioned(folder.path, {
      's.tar': pair('a'),
      't.TAR': pair('b'),
      'part-2/s.tar': pair('c'),
      'part-2/deep/u.Tar': pair('d'),
      'z/s.tar': pair('e'),
    });
    expect([documents, captions]).toEqual([5, ['a', 'b', 'c', 'd', 'e']]);
  });

  it('may hold images under any extension, told by their bytes', async () => {
    await using folder = await temporaryDirectory();
    const names = ['jfif', 'bin', 'image', 'input.data', 'JPG_'];
    const members = (await pictures()).flatMap(
      (image, i): Members => [
        [`${i}.${names[i]}`, image],
        [`${i}.txt`, `${i}`],
        [`${i}.cls`, '7'],
      ],
    );
    const { documents, leftOut } = await captioned(folder.path, { 's.tar': members });
    expect(documents).toBe(5);
    expect(leftOut).toMatchObject([{ reason: 'it is neither the image nor the caption of its sample', count: 5 }]);
  });

  it('may hold more than image and caption: masks, named fields, descriptions, which are left out by name', async () => {
    await using folder = await temporaryDirectory();
    const image = await png([1, 2, 3]);
    const { captions, images, leftOut } = await captioned(folder.path, {
      's.tar': [
        ['a.jpg', image],
        ['a.mask.png', image],
        ['a.txt', 'a'],
        ['b.depth.png', image],
        ['b.png', image],
        ['b.json', '{"caption":"b","similarity":NaN}'],
        ['c.input.jpg', image],
        ['c.outputs.txt', 'c'],
        ['d.png', image],
        ['d.json', '{"score":-Infinity,"text":"d"}'],
        ['e.png', image],
        ['e.txt', 'e'],
        ['e.json', '{"url":NaN}'],
        ['noextension', 'x'],
      ],
    });
    expect(captions).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(images).toEqual(['a.jpg', 'b.png', 'c.input.jpg', 'd.png', 'e.png'].map((name) => `s.tar ${name}`));
    expect(leftOut).toEqual([
      {
        reason: 'it is neither the image nor the caption of its sample',
        count: 3,
        names: ['a.mask.png', 'b.depth.png', 'e.json'].map((name) => `captioned/s.tar ${name}`),
      },
      { reason: 'its name has no extension', count: 1, names: ['captioned/s.tar noextension'] },
    ]);
  });

  it.each<[string, string[], RegExp]>([
    [
      'all images first',
      ['a.png', 'b.png', 'a.txt', 'b.txt'],
      /members of the sample a in .* do not lie side by side: a.txt/,
    ],
    [
      'all captions first',
      ['a.txt', 'b.txt', 'a.png', 'b.png'],
      /members of the sample a in .* do not lie side by side: a.png/,
    ],
    [
      'one member astray',
      ['a.png', 'a.txt', 'b.png', 'c.png', 'c.txt', 'b.txt'],
      /sample b in .*: b.txt lies elsewhere/,
    ],
    [
      'a member appended',
      ['a.png', 'a.txt', 'b.png', 'b.txt', 'a.png'],
      /^a.png in .* comes a second time, apart from/,
    ],
    [
      'a caption appended',
      ['a.png', 'a.txt', 'b.png', 'b.txt', 'a.txt'],
      /^a.txt in .* comes a second time, apart from/,
    ],
    ['one without caption', ['a.png', 'a.txt', 'b.png'], /the sample b in .* has no caption \(its members: png\)/],
    ['two captions', ['a.png', 'a.x.txt', 'a.y.txt'], /has no caption \(its members: png, x.txt, y.txt\)/],
    ['other fields only', ['a.png', 'a.json'], /has no caption: the fields of its .json are TEXT, url/],
    ['two masks', ['a.x.png', 'a.y.png', 'a.txt'], /holds 2 images \(its members: x.png, y.png, txt\)/],
    ['no image', ['a.bin', 'a.txt'], /holds 0 images \(its members: bin, txt\)/],
  ])('are refused with the true reason: %s', async (_, names, message) => {
    await using folder = await temporaryDirectory();
    const image = await png([1, 2, 3]);
    const content = (name: string) =>
      name.endsWith('.png') ? image : name.endsWith('.json') ? '{"TEXT":"a","url":"b"}' : name;
    await expect(
      captioned(folder.path, { 's.tar': names.map((name) => [name, content(name)] as const) }),
    ).rejects.toThrow(message);
  });

  it.each([['LLaVA', '{"image":"0.png","conversations":[]}']])(
    'say when an interleaved document looks like %s',
    async (format, content) => {
      await using folder = await temporaryDirectory();
      await mkdir(join(folder.path, 'interleaved'));
      await writeTar(join(folder.path, 'interleaved', 's.tar'), [['d.json', content]]);
      await expect(indexDataset(runOver(folder.path, { interleaved: 1 }))).rejects.toMatchObject({
        message: expect.stringContaining(`it looks like ${format}`),
        hint: expect.stringContaining('the lists "texts" and "images"'),
      });
    },
  );
});
