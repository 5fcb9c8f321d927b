import { DEFAULT_CHAT_TEMPLATE, type ImageTask, type TextTask } from '@weft/config';
import { describe, expect, it } from 'vitest';
import type { CaptionExample, ChoiceExample, Example, LastWordExample, QuestionExample } from './example.js';
import { drawShots, type FewShotPrompt, fewShotPrompt, type PromptSpace } from './few-shot.js';

const image = (name: string) => ({ name, read: async () => Buffer.from(name) });
const paths = {
  examples: 'x.json',
  questions: null,
  images: 'x',
  shotExamples: null,
  shotQuestions: null,
  shotImages: null,
};
const task: ImageTask = {
  kind: 'question',
  ...paths,
  prompt: '{IMAGE} Question: {QUESTION} Short answer:',
  separator: '\n',
  maxTokens: 5,
};
const captions: ImageTask = { ...task, kind: 'caption', prompt: '{IMAGE} A photo of' };
const texts: TextTask = { kind: 'multipleChoice', examples: 'x.jsonl', shotExamples: null, separator: '\n\n' };

const question = (i: number, imageName = `i${i}`): QuestionExample => ({
  ...{ kind: 'question', id: `${i}`, where: `q.json[${i}]`, image: image(imageName), question: `what is ${i}?` },
  answers: ['no', `n${i}`, `n${i}`],
});
const pool = Array.from({ length: 40 }, (_, i) => question(i));
const wide: PromptSpace = {
  sequenceLength: 1000,
  tokensPerImage: 10,
  tokensOf: (text) => text.length,
  chatTemplate: undefined,
};
const shown = ({ parts }: FewShotPrompt) =>
  parts
    .map((part) => (part.kind === 'image' ? `<${part.image.name}>` : part.kind === 'text' ? part.text : '<end>'))
    .join('');

describe('shots', () => {
  it('are drawn by seed, task and example, and fewer are the last ones of more', () => {
    const ids = (shots: number, seed = 0, name = 'vqa') =>
      drawShots(pool[7]!, pool, shots, name, seed).map(({ id }) => id);
    expect(ids(8)).toEqual(ids(8));
    expect(ids(4)).toEqual(ids(8).slice(4));
    expect(ids(0)).toEqual([]);
    expect(new Set(ids(16)).size).toBe(16);
    expect(ids(8, 1)).not.toEqual(ids(8));
    expect(ids(8, 0, 'gqa')).not.toEqual(ids(8));
    expect(drawShots(pool[8]!, pool, 8, 'vqa', 0)).not.toEqual(drawShots(pool[7]!, pool, 8, 'vqa', 0));
  });

  it('are never the example itself, nor another question about its image', () => {
    const asked = [question(0, 'same'), question(1, 'same'), question(2), question(3)];
    for (const seed of [0, 1, 2, 3, 4]) {
      expect(
        drawShots(asked[0]!, asked, 2, 'vqa', seed)
          .map(({ id }) => id)
          .toSorted(),
      ).toEqual(['2', '3']);
    }
    expect(() => drawShots(asked[0]!, asked, 3, 'vqa', 0)).toThrow(
      'q.json[0]: 3 shots were asked for, but the task vqa has only 2 other examples',
    );
    expect(() => drawShots(asked[0]!, [], 1, 'vqa', 0)).toThrow('has only 0 other examples');
  });
});

describe('a prompt', () => {
  it("is the paper's: the image, the question, and an answer behind a space", () => {
    const { shots, parts } = fewShotPrompt(task, pool[0]!, [pool[1]!, pool[2]!], wide, 5);
    expect(shots).toBe(2);
    expect(shown({ shots, parts })).toBe(
      '<i1> Question: what is 1? Short answer: n1\n<i2> Question: what is 2? Short answer: n2\n<i0> Question: what is 0? Short answer:',
    );
    expect(parts.map(({ kind }) => kind)).toEqual(['image', 'text', 'image', 'text', 'image', 'text']);
  });

  it('of a caption takes the first reference of a shot', () => {
    const caption = (name: string, ...references: string[]): CaptionExample => ({
      kind: 'caption',
      id: name,
      where: name,
      image: image(name),
      references,
    });
    const prompt = fewShotPrompt(captions, caption('a', 'x'), [caption('b', 'a cat ', 'one cat')], wide, 5);
    expect(shown(prompt)).toBe('<b> A photo of a cat\n<a> A photo of');
  });

  it('of a text task is its context, behind the contexts and answers of the shots', () => {
    const choice: ChoiceExample = {
      kind: 'multipleChoice',
      id: '1',
      where: 'x:1',
      context: 'Two is',
      choices: [' odd', ' even'],
      right: 1,
    };
    expect(shown(fewShotPrompt(texts, choice, [choice], wide, 5))).toBe('Two is even\n\nTwo is');
    const word: LastWordExample = { kind: 'lastWord', id: '1', where: 'x:1', context: 'he said', word: ' no' };
    expect(shown(fewShotPrompt({ ...texts, kind: 'lastWord' }, word, [word], wide, 5))).toBe('he said no\n\nhe said');
  });

  it('leaves out the farthest shots where not all fit, and counts those that are left', () => {
    // 35 characters and 10 positions an example, 4 more for the answer of a shot; the answer takes 5.
    const sized = (sequenceLength: number) =>
      fewShotPrompt(task, pool[0]!, [pool[1]!, pool[2]!, pool[3]!], { ...wide, sequenceLength }, 5);
    const one = sized(1000).parts.length;
    expect(one).toBe(8);
    const length = (shots: number) => 50 + shots * 49;
    expect(sized(length(3)).shots).toBe(3);
    expect(sized(length(3) - 1).shots).toBe(2);
    expect(shown(sized(length(1)))).toMatch(/^<i3>.*n3\n<i0>/);
    expect(sized(length(0)).shots).toBe(0);
    expect(() => sized(length(0) - 1)).toThrow(
      'q.json[0]: its prompt takes 45 positions and its answer up to 5, but model.sequenceLength is 49',
    );
  });

  it('of a text that is too long keeps its end, from the beginning of a word', () => {
    const word: LastWordExample = {
      kind: 'lastWord',
      id: '1',
      where: 'x:1',
      context: 'once upon a time there was a king',
      word: ' Lear',
    };
    const space = { ...wide, sequenceLength: 25 };
    const prompt = fewShotPrompt({ ...texts, kind: 'lastWord' }, word, [word], space, 5);
    expect(prompt).toEqual({
      shots: 0,
      parts: [{ kind: 'text', text: 'time there was a king'.slice(-20).replace(/^\S*\s/, '') }],
    });
  });
});

describe('a model that was trained on conversations', () => {
  const chat: PromptSpace = { ...wide, chatTemplate: DEFAULT_CHAT_TEMPLATE };

  it('is asked in the words of its template, every shot a turn before', () => {
    const { parts, shots } = fewShotPrompt(task, question(2), [question(1)], chat, 5);
    const [one, two] = ['what is 1?', 'what is 2?'].map((text) => shown({ parts: asIt(task.prompt, text), shots: 0 }));
    expect(shots).toBe(1);
    expect(shown({ parts, shots })).toBe(
      `USER: ${one?.replace('<>', '<i1>')}\nASSISTANT: n1<end>USER: ${two?.replace('<>', '<i2>')}\nASSISTANT: `,
    );
    const length = shown({ parts, shots }).replaceAll(/<i\d>/g, '').replace('<end>', '.').length + 2 * 10;
    expect(fewShotPrompt(task, question(2), [question(1)], { ...chat, sequenceLength: length + 5 }, 5).shots).toBe(1);
    expect(fewShotPrompt(task, question(2), [question(1)], { ...chat, sequenceLength: length + 4 }, 5).shots).toBe(0);
  });

  it('continues texts as any other model does', () => {
    const example: Example = { ...{ kind: 'lastWord', id: '1', where: 'x' }, context: 'once upon a', word: ' time' };
    expect(shown(fewShotPrompt({ ...texts, kind: 'lastWord' }, example, [], chat, 5))).toBe('once upon a');
  });
});

/** The prompt of a task with the image as `<>`. */
const asIt = (prompt: string, text: string): FewShotPrompt['parts'] => [
  { kind: 'text', text: prompt.replace('{IMAGE}', '<>').replace('{QUESTION}', text) },
];
