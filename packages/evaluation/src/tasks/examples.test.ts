import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TarWriter } from '@weft/data';
import { temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCaptions, readQuestions } from './image-examples.js';
import { ImageCollection } from './images.js';
import { readChoices, readLastWords } from './text-examples.js';

let folder: Awaited<ReturnType<typeof temporaryDirectory>>;
let images: ImageCollection;
const at = (name: string) => join(folder.path, name);
const json = async (name: string, value: unknown) => {
  await writeFile(at(name), JSON.stringify(value));
  return at(name);
};
const lines = async (name: string, ...values: unknown[]) => {
  await writeFile(at(name), values.map((each) => (typeof each === 'string' ? each : JSON.stringify(each))).join('\n'));
  return at(name);
};

const FILES = ['COCO_val2014_000000000042.jpg', 'n161313.jpg', '003a8ae2.jpg', 'VizWiz_val_00000007.jpg'];

beforeAll(async () => {
  folder = await temporaryDirectory();
  await mkdir(at('images/deep'), { recursive: true });
  for (const [i, name] of FILES.entries())
    await writeFile(at(i === 1 ? `images/deep/${name}` : `images/${name}`), `bytes of ${name}`);
  await writeFile(at('images/readme.txt'), 'no image');
  images = await ImageCollection.open(at('images'));
});
afterAll(async () => {
  await images.close();
  await folder[Symbol.asyncDispose]();
});

describe('captions', () => {
  it('are read as COCO and NoCaps publish them, by image, in the order of the images', async () => {
    const path = await json('coco.json', {
      info: {},
      images: [
        { id: 42, file_name: 'COCO_val2014_000000000042.jpg' },
        { id: 9, file_name: '003a8ae2.jpg' },
      ],
      annotations: [
        { image_id: 9, id: 1, caption: 'A dog.' },
        { image_id: 42, id: 2, caption: 'A cat.' },
        { image_id: 9, id: 3, caption: 'One dog.' },
      ],
    });
    const [first, second, ...rest] = await readCaptions(path, images);
    expect(rest).toEqual([]);
    expect(first).toMatchObject({ kind: 'caption', id: '42', references: ['A cat.'], where: 'coco.json: image 42' });
    expect(second).toMatchObject({ id: '9', references: ['A dog.', 'One dog.'] });
    expect(Buffer.from(await second!.image.read()).toString()).toBe('bytes of 003a8ae2.jpg');
  });

  it('are read as TextCaps publishes them, with every reference once', async () => {
    const entry = { image_id: '003a8ae2', image_path: 'train/003a8ae2.jpg' };
    const path = await json('textcaps.json', {
      data: [
        { ...entry, caption_str: 'a', reference_strs: ['a', 'b'] },
        { ...entry, caption_str: 'b', reference_strs: ['a', 'b'] },
      ],
    });
    expect(await readCaptions(path, images)).toMatchObject([{ id: '003a8ae2', references: ['a', 'b'] }]);
  });

  it.each([
    [{ images: [], annotations: [] }, 'holds no example'],
    [
      { images: [{ id: 1, file_name: 'x.jpg' }], annotations: [{ image_id: 1, caption: 'x' }] },
      'bad.json: image 1: the image x.jpg is not in',
    ],
    [
      { images: [{ id: 42 }], annotations: [{ image_id: 42, text: 'x' }] },
      'bad.json: annotations[0]: caption is missing, but must be a text that is not empty (it has image_id, text)',
    ],
    [
      { images: [{ id: 42 }], annotations: [{ image_id: 7, caption: 'x' }] },
      'bad.json: annotations[0]: there is no image 7 in images',
    ],
    [{ images: [{ id: 42 }], annotations: [] }, 'bad.json: image 42 has no caption to compare with'],
    [{ images: { id: 42 }, annotations: [] }, 'bad.json: images is an object, but must be a list'],
    [{ images: [42], annotations: [] }, 'bad.json: images[0] is a number, but must be an object'],
    [{ image: [] }, 'bad.json: images is missing, but must be a list (it has image)'],
    [[1], 'bad.json is a list, but must be an object'],
  ])('%j are refused', async (value, sentence) => {
    await expect(readCaptions(await json('bad.json', value), images)).rejects.toThrow(sentence);
  });
});

describe('questions', () => {
  it('are read as VQA v2 and OK-VQA publish them, the image found by its number', async () => {
    const questions = await json('questions.json', {
      questions: [{ question_id: 420, image_id: 42, question: 'What?' }],
    });
    const path = await json('vqa.json', {
      annotations: [{ question_id: 420, image_id: 42, answers: [{ answer: 'cat', answer_id: 1 }, { answer: 'dog' }] }],
    });
    const [question] = await readQuestions(path, questions, images);
    expect(question).toMatchObject({ kind: 'question', id: '420', question: 'What?', answers: ['cat', 'dog'] });
    expect(question?.image.name).toBe(at('images/COCO_val2014_000000000042.jpg'));
    await expect(readQuestions(path, null, images)).rejects.toThrow('vqa.json has answers without their questions');
    const others = await json('others.json', { questions: [{ question_id: 1, question: 'Why?' }] });
    await expect(readQuestions(path, others, images)).rejects.toThrow(
      'vqa.json: annotations[0]: there is no question 420 in',
    );
  });

  it.each([
    [
      'TextVQA',
      { data: [{ question_id: 3, question: 'Brand?', image_id: '003a8ae2', answers: ['a', 'b'] }] },
      { id: '3', answers: ['a', 'b'] },
    ],
    [
      'VizWiz',
      [{ image: 'VizWiz_val_00000007.jpg', question: 'Colour?', answers: [{ answer: 'red' }], answerable: 1 }],
      { id: '0', answers: ['red'] },
    ],
    [
      'GQA',
      { '201': { imageId: 'n161313', question: 'Is it?', answer: 'no', fullAnswer: 'No.' } },
      { id: '201', answers: ['no'] },
    ],
  ])('are read as %s publishes them', async (name, value, expected) => {
    expect(await readQuestions(await json(`${name}.json`, value), null, images)).toMatchObject([expected]);
  });

  it.each([
    [
      { data: [{ question_id: 3, question: 'x', image_id: 'gone', answers: ['a'] }] },
      'bad.json: data[0]: the image gone is not in',
    ],
    [
      { data: [{ question_id: 3, question: 'x', image_id: '003a8ae2' }] },
      'bad.json: data[0] has no answer to compare with: name a file with answers',
    ],
    [{ questions: [] }, 'bad.json has no answer to compare with'],
    [
      { data: [{ question_id: 3, question: '', image_id: '003a8ae2', answers: ['a'] }] },
      'bad.json: data[0]: question is empty, but must be a text that is not empty',
    ],
    [
      { data: [{ question_id: 3, question: 'x', image_id: '003a8ae2', answers: ['a', 7] }] },
      'bad.json: data[0]: answers[1] is a number, but must be an object',
    ],
  ])('%j are refused', async (value, sentence) => {
    const refused = readQuestions(await json('bad.json', value), null, images).catch((error) => error.sentence);
    expect(await refused).toContain(sentence);
  });
});

describe('images', () => {
  it('of a tar archive are read by their names', async () => {
    const tar = await TarWriter.create(at('images.tar'));
    for (const name of FILES) await tar.add(`val/${name}`, Buffer.from(`bytes of ${name}`));
    await tar.finish();
    const archive = await ImageCollection.open(at('images.tar'));
    const image = archive.find({ id: '42' }, 'x');
    expect(Buffer.from(await image.read()).toString()).toBe('bytes of COCO_val2014_000000000042.jpg');
    expect(image.name).toBe(`${at('images.tar')} val/COCO_val2014_000000000042.jpg`);
    await archive.close();
  });

  it('with the same number are refused, if nothing else tells them apart', async () => {
    await mkdir(at('twins'));
    for (const name of ['train_007.png', 'val_7.png']) await writeFile(at(`twins/${name}`), '');
    const twins = await ImageCollection.open(at('twins'));
    expect(() => twins.find({ id: '7' }, 'q.json: data[3]')).toThrow('q.json: data[3]: several images of');
    expect(twins.find({ id: '7', file: 'val_7.png' }, 'x').name).toBe(at('twins/val_7.png'));
    expect(twins.find({ id: 'val_7' }, 'x').name).toBe(at('twins/val_7.png'));
  });

  it('must be there', async () => {
    await expect(ImageCollection.open(at('nothing'))).rejects.toThrow(
      `there is no folder or archive of images ${at('nothing')}`,
    );
    await mkdir(at('empty'));
    await expect(ImageCollection.open(at('empty'))).rejects.toThrow(`${at('empty')} holds no image`);
    await writeFile(at('photo.tar'), 'no archive');
    await expect(ImageCollection.open(at('photo.tar'))).rejects.toThrow('photo.tar');
  });
});

describe('texts', () => {
  it('with choices are read in the forms of ARC, PIQA and HellaSwag, and in one of their own', async () => {
    const path = await lines(
      'choices.jsonl',
      { query: 'Two and two is', choices: ['four', ' five'], gold: 0 },
      { id: 'x', question: 'Why?', choices: { text: ['a', 'b', 'c'], label: ['A', 'B', 'C'] }, answerKey: 'C' },
      '',
      { goal: 'Boil water', sol1: 'heat it', sol2: 'cool it', label: 0 },
      { ctx: 'A man sits', endings: ['down', 'up'], label: '1' },
    );
    expect(await readChoices(path)).toMatchObject([
      { context: 'Two and two is', choices: [' four', ' five'], right: 0, id: '1' },
      { context: 'Question: Why?\nAnswer:', choices: [' a', ' b', ' c'], right: 2 },
      {
        context: 'Question: Boil water\nAnswer:',
        choices: [' heat it', ' cool it'],
        right: 0,
        where: 'choices.jsonl:4',
      },
      { context: 'A man sits', choices: [' down', ' up'], right: 1 },
    ]);
  });

  it('are cut before their last word', async () => {
    const path = await lines('words.jsonl', { text: 'She gave him the ring. "Yes", he  said\n' });
    expect(await readLastWords(path)).toMatchObject([{ context: 'She gave him the ring. "Yes", he ', word: ' said' }]);
  });

  it.each([
    ['{"query": "x", "choices": ["a"], "gold": 0}', 'bad.jsonl:1 has 1 choices, but must have two or more'],
    ['{"query": "x", "choices": ["a", "b"], "gold": 2}', 'bad.jsonl:1: the right choice is none of its 2 choices'],
    [
      '{"question": "x", "options": ["a", "b"]}',
      'bad.jsonl:1 has the fields question, options, of which no question with choices can be made',
    ],
    ['{"query": "x"', 'bad.jsonl:1 is not whole JSON'],
    ['\n"x"', 'bad.jsonl:2 is a text, but must be an object'],
    ['', 'holds no example'],
  ])('%j is refused', async (text, sentence) => {
    await expect(readChoices(await lines('bad.jsonl', text))).rejects.toThrow(sentence);
  });

  it('of one word, or from no file, are refused', async () => {
    await expect(readLastWords(await lines('bad.jsonl', { text: 'word' }))).rejects.toThrow(
      'bad.jsonl:1: text has one word alone',
    );
    await expect(readLastWords(at('gone.jsonl'))).rejects.toThrow(
      `the file of examples ${at('gone.jsonl')} cannot be read`,
    );
  });
});
