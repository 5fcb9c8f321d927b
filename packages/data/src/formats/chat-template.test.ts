import { DEFAULT_CHAT_TEMPLATE } from '@weft/config';
import { describe, expect, it } from 'vitest';
import { type ChatTurn, chatParts, chatPrompt } from './chat-template.js';

const turns: readonly ChatTurn<string>[] = [
  { role: 'user', content: [{ image: 'a.png' }, { text: '\nWhat is it?' }] },
  { role: 'assistant', content: [{ text: 'A cat.' }] },
  { role: 'user', content: [{ text: 'Its name?' }] },
  { role: 'assistant', content: [{ text: 'Tom.' }] },
];
const prompt = (text: string) => ({ kind: 'text', text, isAnswer: false });
const answer = (text: string) => ({ kind: 'text', text, isAnswer: true });

describe('a chat template', () => {
  it('writes turns one after another; what the assistant says, and the end of it, are answers', () => {
    expect(chatParts(DEFAULT_CHAT_TEMPLATE, turns)).toEqual([
      prompt('USER: '),
      { kind: 'image', image: 'a.png' },
      prompt('\nWhat is it?\nASSISTANT: '),
      answer('A cat.'),
      { kind: 'end' },
      prompt('USER: Its name?\nASSISTANT: '),
      answer('Tom.'),
      { kind: 'end' },
    ]);
  });

  it('asks with the beginning of what it is trained on', () => {
    const asked = chatPrompt(DEFAULT_CHAT_TEMPLATE, turns.slice(0, 3));
    expect(asked).toEqual(chatParts(DEFAULT_CHAT_TEMPLATE, turns).slice(0, -2));
  });

  it('begins with what the system says, its own or that of the template; what follows {TEXT} in an answer is learned', () => {
    const template = {
      system: '<<{TEXT}>>',
      systemMessage: 'Be kind.',
      user: '[{TEXT}]',
      assistant: '({TEXT})',
    };
    const text = (all: readonly ChatTurn<string>[]) =>
      chatParts(template, all).map((part) => (part.kind === 'text' ? part.text : `<${part.kind}>`));
    const [question, reply] = [turns[2]!, turns[3]!];
    expect(text([question, reply])).toEqual(['<<Be kind.>>[Its name?](', 'Tom.)', '<end>']);
    const system = { role: 'system', content: [{ text: 'Bark.' }] } as const;
    expect(text([system, question, reply])).toEqual(['<<Bark.>>[Its name?](', 'Tom.)', '<end>']);
  });
});
