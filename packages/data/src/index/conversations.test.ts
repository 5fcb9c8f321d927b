import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MixtureSchedule } from '@weft/mixture';
import { temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBatch } from '../batch/batch-arrays.js';
import { RankBatchLoader } from '../batch/rank-batch-loader.js';
import { byteTokenizer } from '../formats/tokenizer.js';
import { type Colour, png, tinyConfig, writeTar } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';
import { inspectDataset } from './inspect-dataset.js';

const RED: Colour = [255, 0, 0];
const chat = (image: string | undefined, question: string, ...answers: string[]) => ({
  ...(image === undefined ? {} : { image }),
  conversations: answers.flatMap((answer, turn) => [
    { from: 'human', value: turn === 0 ? question : 'And now?' },
    { from: 'gpt', value: answer },
  ]),
});

/** A run of one source of conversations: 96 positions a sequence, 4 positions an image. */
function chatConfig(directory: string, subImages: { rows: number; columns: number } | null = null) {
  const { data, model } = tinyConfig(directory);
  return {
    data: {
      ...{ ...data, sources: { chats: 'conversations' as const }, weights: { chats: 1 }, imagesPerSequence: 12 },
      images: { ...data.images, subImages },
    },
    model: { ...model, sequenceLength: 96 },
  };
}

describe('conversations', () => {
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>;
  const at = (name: string) => join(folder.path, 'chats', name);

  beforeAll(async () => {
    folder = await temporaryDirectory();
    await mkdir(at('more/images'), { recursive: true });
    await writeTar(at('pictures.tar'), [
      ['coco/a.png', await png(RED)],
      ['coco/unused.png', await png(RED)],
    ]);
    await writeFile(at('b.png'), await png([0, 255, 0]));
    await writeFile(at('more/images/c.png'), await png([0, 0, 255]));
    const lines = [
      chat('coco/a.png', '<image>\nColour?', 'red', 'still red'),
      chat('b.png', '<image>?', 'green'),
      chat(undefined, '1 + 1?', '2'),
    ];
    await writeFile(at('llava.json'), JSON.stringify(lines));
    const long = chat('images/c.png', '<image>Q?', 'A'.repeat(200));
    const late = chat('images/c.png', `<image>${'Q'.repeat(100)}?`, 'A');
    await writeFile(at('more/share.jsonl'), [long, late].map((each) => JSON.stringify(each)).join('\n'));
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it('are indexed with images of folders and archives; what is not read or does not fit is told', async () => {
    const { sources, leftOut } = await indexDataset(chatConfig(folder.path));
    expect(sources.chats).toMatchObject({ documents: 4, images: 3 });
    expect(leftOut).toEqual([
      {
        ...{ reason: 'the end of the conversation does not fit into model.sequenceLength', count: 1 },
        names: ['chats/more/share.jsonl line 1'],
      },
      {
        ...{ reason: 'its first answer does not begin within model.sequenceLength', count: 1 },
        names: ['chats/more/share.jsonl line 2'],
      },
      { reason: 'no conversation names it', count: 1, names: ['chats/coco/unused.png'] },
    ]);
    expect((await indexDataset(chatConfig(folder.path))).built).toBe(false);
    const show = { source: 'chats', sequence: 0 };
    const { sequence } = await inspectDataset({ ...chatConfig(folder.path), verify: true, show });
    expect(sequence).toContain('USER: ⟨image 1: pictures.tar coco/a.png⟩\nColour?\nASSISTANT: red⟨end⟩USER: ');
    const next = await inspectDataset({ ...chatConfig(folder.path), show: { source: 'chats', sequence: 1 } });
    expect(next.sequence).toMatch(/USER: ⟨image \d: (b\.png⟩\?|more\/images\/c\.png⟩Q\?)\nASSISTANT: (green|A)/);
  });

  it('have a loss on answers and their ends, and none anywhere else', async () => {
    const config = chatConfig(folder.path);
    await indexDataset(config);
    const dataset = await Dataset.open(config);
    const count = dataset.sequences.chats ?? 0;
    const loader = new RankBatchLoader({
      ...{ dataset, schedule: new MixtureSchedule({ chats: 1 }), seed: 1 },
      ...{ microbatchSize: count, globalBatchSize: count, prefetchSteps: 0 },
      read: (rows) => readBatch(dataset, rows, { microbatchSize: count }),
    });
    const { microbatches, lossTokens } = await loader.load(1, 0, 1);
    const [batch] = microbatches;
    const learned: number[][] = [];
    batch?.lossMask_BT.forEach((counts, i) => {
      if (counts === 0) {
        expect(batch.targetIds_BT[i]).toBe(0);
        return;
      }
      if (batch.lossMask_BT[i - 1] !== 1 || batch.targetIds_BT[i - 1] === byteTokenizer.endOfTextId) learned.push([]);
      learned.at(-1)?.push(batch.targetIds_BT[i]!);
    });
    const answers = learned.map((ids) => [byteTokenizer.decode(ids), ids.at(-1) === byteTokenizer.endOfTextId]);
    expect(answers.toSorted()).toEqual(
      [
        ...['2', 'green', 'red', 'still red'].map((text) => [text, true]),
        ['A'.repeat(96 - 'USER: Q?\nASSISTANT: '.length - 4), false],
      ].toSorted(),
    );
    expect(lossTokens).toBe(learned.reduce((sum, ids) => sum + ids.length, 0));
    await loader.close();
    await dataset.close();
  });

  it('get every view of a picture, the overview first, and room for all of them', async () => {
    const config = chatConfig(folder.path, { rows: 1, columns: 2 });
    const { directory, sources } = await indexDataset(config);
    expect(directory).toMatch(/bytes-T96-K4-I12-V3-S[0-9a-f]{8}$/);
    expect(sources.chats?.images).toBe(9);
    const dataset = await Dataset.open(config);
    const images = (await dataset.readSequence('chats', 0)).segments.flatMap((segment) => segment.images);
    expect(images.slice(0, 3).map(({ view }) => view)).toEqual([0, 1, 2]);
    const pixels = await Promise.all(images.map((image) => dataset.readImage('chats', image)));
    expect(pixels.map(({ length }) => length)).toEqual(images.map(() => 6 * 6 * 3));
    expect([...pixels[1]!.subarray(0, 3)]).toEqual([0, 0, 255]);
    await dataset.close();
  });

  it('have an index for every template', async () => {
    const { data, model } = chatConfig(folder.path);
    const chatTemplate = { ...data.chatTemplate, user: 'Q: {TEXT}\n' };
    const { directory } = await indexDataset({ data: { ...data, chatTemplate }, model });
    expect(directory).toMatch(/-S[0-9a-f]{8}-C[0-9a-f]{8}$/);
  });

  it.each([
    ['a name that is nowhere', chat('d.png', '<image>?', 'x'), 'names the image "d.png", which is neither a file in'],
    ['a path out of the folder', chat('../chats/b.png', '<image>?', 'x'), 'names the image "../chats/b.png", which is'],
    ['another number of images', chat('b.png', '?', 'x'), 'has 0 <image> marks, but names 1 image'],
  ])('are refused with %s, and leave no index', async (_, line, message) => {
    await using other = await temporaryDirectory();
    await mkdir(join(other.path, 'chats'));
    await writeFile(join(other.path, 'chats/b.png'), await png(RED));
    await writeFile(join(other.path, 'chats/a.jsonl'), JSON.stringify(line));
    const config = chatConfig(other.path);
    await expect(indexDataset(config)).rejects.toThrow(`line 1 of ${join(other.path, 'chats/a.jsonl')} ${message}`);
    await expect(Dataset.open(config)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('are refused with a damaged image, and with two archives that hold one name', async () => {
    await using other = await temporaryDirectory();
    await mkdir(join(other.path, 'chats'));
    await writeFile(join(other.path, 'chats/b.png'), 'no image');
    await writeFile(join(other.path, 'chats/a.jsonl'), JSON.stringify(chat('b.png', '<image>?', 'x')));
    await expect(indexDataset(chatConfig(other.path))).rejects.toThrow(/the image b\.png in .* cannot be decoded: /);
    await writeTar(join(other.path, 'chats/1.tar'), [['x.png', await png(RED)]]);
    await writeTar(join(other.path, 'chats/2.tar'), [['x.png', await png(RED)]]);
    await writeFile(join(other.path, 'chats/b.png'), await png(RED));
    await writeFile(join(other.path, 'chats/a.jsonl'), JSON.stringify(chat('x.png', '<image>?', 'x')));
    await expect(indexDataset(chatConfig(other.path))).rejects.toThrow(
      /2\.tar and .*1\.tar both hold the image x\.png, and the document does not say which/,
    );
  });

  it('find the image of a name that several archives have: by its archive, and in the one called as their own file', async () => {
    await using other = await temporaryDirectory();
    await mkdir(join(other.path, 'chats'));
    const blue = await png([0, 0, 255]);
    for (const [name, image] of [
      ['1', await png(RED)],
      ['2', blue],
    ] as const)
      await writeTar(join(other.path, `chats/${name}.tar`), [
        ['x.png', image],
        ['README', 'the same in all'],
      ]);
    await writeFile(join(other.path, 'chats/2.jsonl'), JSON.stringify(chat('x.png', '<image>?', 'x')));
    await writeFile(join(other.path, 'chats/z.jsonl'), JSON.stringify(chat('2.tar/x.png', '<image>?', 'y')));
    const { leftOut } = await indexDataset(chatConfig(other.path));
    const dataset = await Dataset.open(chatConfig(other.path));
    const { segments } = await dataset.readSequence('chats', 0);
    const images = segments.flatMap((segment) => segment.images);
    expect(images).toHaveLength(2);
    for (const image of images) expect(Buffer.from(await dataset.readImageFile('chats', image))).toEqual(blue);
    await dataset.close();
    expect(leftOut.flatMap(({ count }) => count)).toEqual([3]);
  });
});
