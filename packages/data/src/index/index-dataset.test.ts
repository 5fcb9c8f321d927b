import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { type Members, png, tinyConfig, writeTar, writeTinyDataset } from '../testing/tiny-dataset.js';
import { indexDataset } from './index-dataset.js';

const RED = [255, 0, 0] as const;

/** A tiny dataset with one more shard of captioned samples. */
async function withShard(directory: string, source: 'captioned' | 'interleaved', members: Members): Promise<void> {
  await writeTinyDataset(directory);
  await writeTar(join(directory, source, 'x.tar'), members);
}

describe('indexDataset', () => {
  it('names shard and member of an image that cannot be decoded, and leaves nothing half-written', async () => {
    await using folder = await temporaryDirectory();
    const image = await png(RED, 64, 64);
    await withShard(folder.path, 'captioned', [
      ['1.png', image],
      ['1.txt', 'good'],
      ['2.png', image.subarray(0, image.length - 40)],
      ['2.txt', 'cut off'],
      ['3.png', 'not an image'],
      ['3.txt', 'worse'],
    ]);
    await expect(indexDataset(tinyConfig(folder.path))).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringMatching(/^the image 2\.png in .*captioned\/x\.tar cannot be decoded: /),
      hint: expect.stringContaining('replace the shard'),
    });
    expect(await readdir(folder.path)).not.toContain('index');
  });

  it('keeps the old index when a new one cannot be made', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await indexDataset(tinyConfig(folder.path));
    await writeFile(join(folder.path, 'captioned', 'x.tar'), 'no tar at all'.repeat(100));
    await expect(indexDataset(tinyConfig(folder.path))).rejects.toThrow('x.tar is damaged at byte 0');
    await rm(join(folder.path, 'captioned', 'x.tar'));
    expect((await indexDataset(tinyConfig(folder.path))).built).toBe(false);
  });

  it.each<[string, 'captioned' | 'interleaved', Members, string]>([
    ['no image', 'captioned', [['1.txt', 'a']], 'the sample 1 in'],
    [
      'two images',
      'captioned',
      [
        ['1.png', ''],
        ['1.jpg', ''],
        ['1.txt', 'a'],
      ],
      'holds 2 images',
    ],
    [
      'no caption',
      'captioned',
      [
        ['1.png', ''],
        ['1.json', '{"title":"a"}'],
      ],
      'has no caption',
    ],
    [
      'a member twice',
      'captioned',
      [
        ['1.png', ''],
        ['1.PNG', ''],
        ['1.txt', 'a'],
      ],
      'twice in one sample',
    ],
    [
      'text that is not UTF-8',
      'captioned',
      [
        ['1.png', ''],
        ['1.txt', Uint8Array.of(0xff, 0xfe)],
      ],
      '1.txt in',
    ],
    ['no description', 'interleaved', [['d.0.png', '']], 'has no .json member'],
    ['lists of different lengths', 'interleaved', [['d.json', '{"texts":["a"],"images":[]}']], 'of one length'],
    ['both at one index', 'interleaved', [['d.json', '{"texts":["a"],"images":["0.png"]}']], 'at index 0 neither'],
    [
      'an image that is not there',
      'interleaved',
      [['d.json', '{"texts":[null],"images":["0.png"]}']],
      'names the image "0.png"',
    ],
    ['JSON that is none', 'interleaved', [['d.json', '{']], 'd.json in'],
  ])('names the sample that has %s', async (_, source, members, message) => {
    await using folder = await temporaryDirectory();
    await withShard(folder.path, source, members);
    await expect(indexDataset(tinyConfig(folder.path))).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringContaining(message),
    });
  });

  it('takes images named with or without the sample, and leaves hidden members out', async () => {
    await using folder = await temporaryDirectory();
    const image = await png(RED);
    await withShard(folder.path, 'interleaved', [
      ['sub/d.0.png', image],
      ['sub/d.1.png', image],
      ['sub/d.json', '{"texts":[null,"a",null],"images":["0.png",null,"sub/d.1.png"]}'],
      ['sub/.DS_Store', 'x'],
    ]);
    const { sources } = await indexDataset(tinyConfig(folder.path));
    expect(sources.interleaved?.documents).toBe(7);
  });

  it('says what is missing when a source has no shards or no documents, unless its weight is 0', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await rm(join(folder.path, 'text'), { recursive: true });
    const config = tinyConfig(folder.path);
    await expect(indexDataset(config)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('no text shards'),
    });
    await mkdir(join(folder.path, 'text'));
    await writeFile(join(folder.path, 'text', 'empty.txt'), '');
    await expect(indexDataset(config)).rejects.toThrow('hold no document');
    const without = { ...config, data: { ...config.data, weights: { captioned: 1, interleaved: 1, text: 0 } } };
    expect((await indexDataset(without)).sources.text?.sequences).toBe(0);
  });

  it('refuses compressed shards instead of overlooking them', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await writeFile(join(folder.path, 'captioned', 'more.tar.gz'), '');
    await expect(indexDataset(tinyConfig(folder.path))).rejects.toThrow('more.tar.gz is compressed');
  });

  it('says how far it has come', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    const seen: string[] = [];
    await indexDataset({
      ...tinyConfig(folder.path),
      onProgress: ({ phase, what, done, total }) => seen.push(`${phase} ${what} ${done}/${total}`),
    });
    expect(seen).toContain('index captioned/c-0.tar 1/5');
    expect(seen.at(-1)).toBe('index index.json 5/5');
  });
});
