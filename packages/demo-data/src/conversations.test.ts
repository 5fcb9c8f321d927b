import { expect, test } from 'vitest';
import { demoConversations } from './conversations.js';

async function* samples(count: number) {
  for (let i = 0; i < count; i++) {
    // Every third is a skin tone, and every tenth has the name of another.
    const name = i % 3 === 0 ? `hand ${i}, light skin tone` : i % 10 === 1 ? 'twin' : `thing ${i}`;
    const description = { name, category: i % 2 === 0 ? 'Objects' : 'Symbols' };
    yield {
      key: `k${i}`,
      members: [
        ['png', `picture ${i}`],
        ['txt', ''],
        ['json', JSON.stringify(description)],
      ] as const,
    };
  }
}

test('the demo has 200 conversations to train on and 40 about other pictures, with one, two and no pictures', async () => {
  const { train, heldOut } = await demoConversations(samples(1000));
  expect([train.conversations.length, heldOut.conversations.length]).toEqual([200, 40]);
  const [first] = train.conversations;
  expect(first).toEqual({
    ...{ id: 'k1', image: 'k1.png' },
    conversations: [
      { from: 'human', value: '<image>\nWhat is it?' },
      { from: 'gpt', value: 'twin' },
      { from: 'human', value: 'Which group is it of?' },
      { from: 'gpt', value: 'Symbols' },
    ],
  });
  const images = train.conversations.map(({ image = [] }) => [image].flat().length);
  const count = (of: number) => images.filter((each) => each === of).length;
  expect([count(0), count(1), count(2)]).toEqual([40, 140, 20]);
  for (const { conversations, pictures } of [train, heldOut]) {
    const shown = new Set(
      pictures.map(({ key, members }) => `${key}.${members.map(([extension]) => extension).join()}`),
    );
    for (const { image = [], conversations: turns } of conversations) {
      expect([image].flat().every((name) => shown.has(name))).toBe(true);
      const marks = turns.map(({ value }) => value.split('<image>').length - 1).reduce((sum, each) => sum + each, 0);
      expect(marks).toBe([image].flat().length);
      expect(turns.some(({ value }) => value.includes('skin tone'))).toBe(false);
    }
  }
  const answers = train.conversations.filter(({ image }) => typeof image === 'object');
  expect(new Set(answers.map(({ conversations: [, answer] }) => answer?.value))).toEqual(
    new Set(['the first', 'the second']),
  );
  const names = [...train.pictures, ...heldOut.pictures].map(({ key }) => key);
  expect(new Set(names).size).toBe(names.length);
  expect(train.pictures.every(({ key }) => !heldOut.pictures.some((other) => other.key === key))).toBe(true);
});
