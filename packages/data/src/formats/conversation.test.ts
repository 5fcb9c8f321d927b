import { describe, expect, it } from 'vitest';
import { readConversation } from './conversation.js';

const human = (value: unknown) => ({ from: 'human', value });
const gpt = (value: unknown) => ({ from: 'gpt', value });
const read = (value: unknown) => readConversation(value, 'line 7 of a.jsonl');
const asked = [{ image: 'a.png' }, { text: '\nWhat is it?' }];

describe('a conversation', () => {
  it.each([
    ['of LLaVA', { image: 'a.png', conversations: [human('<image>\nWhat is it?'), gpt('A cat.')] }],
    ['with a list of images', { image: ['a.png'], conversations: [human('<image>\nWhat is it?'), gpt('A cat.')] }],
    [
      'of messages',
      {
        images: ['a.png'],
        messages: [
          { role: 'user', content: '<image>\nWhat is it?' },
          { role: 'assistant', content: 'A cat.' },
        ],
      },
    ],
    [
      'of messages in parts',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image', image: 'a.png' },
              { type: 'text', text: '\nWhat is it?' },
            ],
          },
          { role: 'assistant', content: [{ type: 'text', text: 'A cat.' }] },
        ],
      },
    ],
    [
      'whose parts take the next image',
      {
        images: 'a.png',
        messages: [{ role: 'user', content: [{ type: 'image' }, '\nWhat is it?'] }, { ...gpt('A cat.') }],
      },
    ],
  ])('%s is read', (_, value) => {
    expect(read(value)).toEqual([
      { role: 'user', content: asked },
      { role: 'assistant', content: [{ text: 'A cat.' }] },
    ]);
  });

  it('may have several images, none, a system, and a question at its end that nobody answers', () => {
    const several = read({ image: ['a', 'b'], conversations: [human('<image> or <image>?'), gpt('b')] });
    expect(several[0]?.content).toEqual([{ image: 'a' }, { text: ' or ' }, { image: 'b' }, { text: '?' }]);
    const text = read({ conversations: [{ from: 'system', value: 's' }, human('1?'), gpt('2'), human('3?')] });
    expect(text.map(({ role }) => role)).toEqual(['system', 'user', 'assistant']);
    expect(read({ image: null, conversations: [human('1?'), gpt('2')] })).toHaveLength(2);
  });

  it.each([
    [{ text: 'a' }, 'line 7 of a.jsonl has no list "conversations" or "messages"; it has text'],
    [[], 'line 7 of a.jsonl has no list "conversations" or "messages"'],
    [{ conversations: [{ from: 'cat', value: 'miaow' }] }, 'line 7 of a.jsonl has the role "cat" in turn 1'],
    [{ messages: [{ content: 'x' }] }, 'line 7 of a.jsonl has the role undefined in turn 1'],
    [{ messages: [{ role: 'toString', content: 'x' }] }, 'line 7 of a.jsonl has the role "toString" in turn 1'],
    [{ conversations: [human('?'), gpt(7)] }, 'line 7 of a.jsonl has no text in turn 2'],
    [
      { messages: [{ role: 'user', content: [{ type: 'audio' }] }] },
      'line 7 of a.jsonl has {"type":"audio"} in turn 1',
    ],
    [
      { image: 'a.png', conversations: [human('What is it?'), gpt('a cat')] },
      'line 7 of a.jsonl has 0 <image> marks, but names 1 image',
    ],
    [{ conversations: [human('<image>?'), gpt('a cat')] }, 'line 7 of a.jsonl has 1 <image> mark, but names 0 images'],
    [
      { image: [7], conversations: [human('<image>?'), gpt('a')] },
      'line 7 of a.jsonl names an image by what is no text',
    ],
    [{ conversations: [human('What is it?')] }, 'line 7 of a.jsonl has no answer'],
    [{ conversations: [human('What is it?'), gpt(' ')] }, 'line 7 of a.jsonl has no answer'],
  ])('%j is refused in a sentence', (value, message) => {
    let thrown: unknown;
    try {
      read(value);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'corrupt_data', message, hint: expect.stringMatching(/\S/) });
  });
});
