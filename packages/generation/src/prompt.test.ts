import { DEFAULT_CHAT_TEMPLATE } from '@weft/config';
import { byteTokenizer } from '@weft/data';
import { describe, expect, test } from 'vitest';
import { asMessage, encodePrompt, type ImageSegment, type Prompt, promptOf } from './prompt.js';

const limits = { tokenizer: byteTokenizer, tokensPerImage: 2, sequenceLength: 8 };
const image = (name: string): ImageSegment => ({ kind: 'image', bytes: Buffer.from(name), name });
const text = (of: string) => ({ kind: 'text', text: of }) as const;
const [a, b] = [image('a'), image('b')];
const positions = (prompt: Prompt, cutTo?: number) => [...encodePrompt(prompt, limits, cutTo).positions];

describe('a prompt', () => {
  test('has its tokens and the rows of its images in order', () => {
    const encoded = encodePrompt([a, text('x'), b, text('é')], limits);
    expect([...encoded.positions]).toEqual([-1, -2, 0x78, -3, -4, 0xc3, 0xa9]);
    expect(encoded.images).toEqual([a, b]);
  });

  test('may fill a sequence, and not more', () => {
    expect(positions([a, text('123456')])).toHaveLength(8);
    expect(() => positions([a, text('1234567')])).toThrow(
      'the prompt takes 9 positions (1 image of 2 and 7 of text), but model.sequenceLength is 8',
    );
  });

  test('is refused when it is empty', () => {
    expect(() => positions([])).toThrow('the prompt is empty');
    expect(() => positions([text('')])).toThrow('the prompt is empty');
  });

  test('loses tokens and whole images at its beginning when it is cut', () => {
    expect(positions([text('12'), a, text('34')], 6)).toHaveLength(6);
    expect(positions([text('12'), a, text('34')], 5)).toEqual([0x32, -1, -2, 0x33, 0x34]);
    expect(positions([text('12'), a, text('34')], 4)).toEqual([-1, -2, 0x33, 0x34]);
    expect(positions([text('12'), a, text('34')], 3)).toEqual([0x33, 0x34]);
    const cut = encodePrompt([a, text('1'), b], limits, 3);
    expect([...cut.positions]).toEqual([0x31, -1, -2]);
    expect(cut.images).toEqual([b]);
    expect(() => positions([text('1'), a], 1)).toThrow('nothing of the prompt is left');
  });

  test('is written with marks for its images, or has them in front', () => {
    expect(promptOf('is it?', [a, b])).toEqual([a, b, text('is it?')]);
    expect(promptOf('<image>and <image>?', [a, b])).toEqual([a, text('and '), b, text('?')]);
    expect(promptOf('', [a])).toEqual([a]);
    expect(() => promptOf('<image>?', [a, b])).toThrow('the prompt has 1 <image> mark, but 2 images came with it');
    expect(() => promptOf('<image> <image>', [a])).toThrow('the prompt has 2 <image> marks, but 1 image came with it');
  });
});

test('a message is put into the words of a chat template as one conversation of training, up to the answer', () => {
  expect(asMessage([a, text('\nWhat '), text('is it?')], DEFAULT_CHAT_TEMPLATE)).toEqual([
    { kind: 'text', text: 'USER: ', isAnswer: false },
    a,
    { kind: 'text', text: '\nWhat is it?\nASSISTANT: ', isAnswer: false },
  ]);
  const ended: Prompt = [text('x'), { kind: 'end' }, text('y')];
  expect(positions(ended)).toEqual([0x78, byteTokenizer.endOfTextId, 0x79]);
});
