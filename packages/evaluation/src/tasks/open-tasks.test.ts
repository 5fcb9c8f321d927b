import { mkdir, writeFile } from 'node:fs/promises';
import type { RunConfig } from '@weft/config';
import { indexDataset } from '@weft/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DemoLikeData, demoLikeData, PIXEL } from '../testing/demo-like-data.js';
import { type OpenTask, openTasks } from './open-tasks.js';

let data: DemoLikeData;
beforeAll(async () => {
  data = await demoLikeData();
});
afterAll(() => data[Symbol.asyncDispose]());

const at = (name: string) => data.at(name);
const runWith = (evaluation: object, changes: object = {}) => data.runWith(evaluation, changes);

async function opened(config: RunConfig): Promise<readonly OpenTask[]> {
  const { tasks, close } = await openTasks(config);
  await close();
  return tasks;
}

describe('the tasks of the demo', () => {
  it('come from held-out sequences alone, one of every kind', async () => {
    const tasks = await opened(runWith({ tasks: 'demo', sequencesPerSource: 4 }));
    const [captions, questions, choices, words] = tasks;
    expect(tasks.map(({ name }) => name)).toEqual(['demo-captions', 'demo-questions', 'demo-choices', 'demo-words']);
    for (const { examples, pool } of tasks) {
      expect(examples.length).toBeGreaterThan(0);
      expect(pool).toEqual(examples);
      expect(new Set(examples.map(({ id }) => id)).size).toBe(examples.length);
    }
    expect(captions?.examples[0]).toMatchObject({ references: [expect.stringMatching(/^\w+ sign$/)] });
    const [flag, capital] = questions?.examples ?? [];
    expect(flag).toMatchObject({ question: 'Which country?', answers: [expect.stringMatching(/^\w+$/)] });
    expect(capital).toMatchObject({
      question: 'Which capital?',
      answers: [expect.stringMatching(/ City$/)],
    });
    const [choice] = choices?.examples ?? [];
    expect(choice).toMatchObject({ context: expect.stringMatching(/^In \w+ all of the people like to$/), right: 0 });
    expect(choice?.kind === 'multipleChoice' && new Set(choice.choices).size).toBe(4);
    expect(words?.examples[0]).toMatchObject({
      context: expect.stringMatching(/^In \w+ all of the people like to$/),
      word: expect.stringMatching(/^ sing\w+$/),
    });
    const fewer = await opened(runWith({ tasks: 'demo', sequencesPerSource: 2 }));
    for (const [i, { examples }] of fewer.entries()) {
      const ids = examples.map(({ id }) => id);
      expect(ids).toEqual(tasks[i]?.examples.slice(0, ids.length).map(({ id }) => id));
      expect(ids.length).toBeLessThan(tasks[i]?.examples.length ?? 0);
    }
    const image = questions?.examples[0]?.kind === 'question' ? questions.examples[0].image : undefined;
    expect(image?.name).toMatch(/^the image of the held-out document \d of the source interleaved$/);
  });

  it('come from conversations too: what the user asks of an image, and what is answered', async () => {
    await mkdir(at('chats'), { recursive: true });
    const lines = Array.from({ length: 12 }, (_, i) => {
      const turns = [
        { from: 'human', value: `<image>\nWhich is ${i}?` },
        { from: 'gpt', value: `Number ${i}.` },
        { from: 'human', value: 'Sure?' },
        { from: 'gpt', value: 'Yes.' },
      ];
      return JSON.stringify({ image: `${i}.png`, conversations: turns });
    });
    for (let i = 0; i < 12; i++) await writeFile(at(`chats/${i}.png`), PIXEL);
    await writeFile(at('chats/a.jsonl'), lines.join('\n'));
    const tasks = { chats: { kind: 'question', examples: 'heldOut', prompt: '{IMAGE}\n{QUESTION}' } };
    const sources = { sources: { chats: 'conversations' }, weights: { chats: 1 } };
    const config = runWith({ tasks, sequencesPerSource: 3 }, sources);
    await indexDataset(config);
    const [questions] = await opened(config);
    expect(questions?.examples.length).toBeGreaterThan(2);
    for (const example of questions?.examples ?? []) {
      if (example.kind !== 'question') throw new Error('it is no question');
      const number = /^Which is (\d+)\?$/.exec(example.question)?.[1];
      expect(example.answers).toEqual([`Number ${number}.`]);
    }
  });

  it('are refused where held-out documents have no such examples', async () => {
    const tasks = { words: { kind: 'question', examples: 'heldOut' } };
    const sources = { sources: { text: 'text' }, weights: { text: 1 } };
    const config = runWith({ tasks, sequencesPerSource: 2 }, sources);
    await indexDataset(config);
    await expect(openTasks(config)).rejects.toThrow(
      'the 2 held-out sequences of every source have no example for the task words',
    );
  });
});

describe('tasks of files', () => {
  it('keep their first examples, and draw shots from another file where there is one', async () => {
    await mkdir(at('photos'));
    for (const id of ['1', '2', '3']) await writeFile(at(`photos/${id}.png`), PIXEL);
    const file = async (name: string, ...ids: string[]) => {
      const data = ids.map((id) => ({ image_id: id, caption_str: `photo ${id}` }));
      await writeFile(at(name), JSON.stringify({ data }));
      return at(name);
    };
    const task = { kind: 'caption', examples: await file('val.json', '1', '2'), images: at('photos') };
    const shotExamples = await file('train.json', '3');
    const [val, apart] = await opened(
      runWith({ tasks: { val: task, apart: { ...task, shotExamples } }, examplesPerTask: 1 }),
    );
    expect([val?.examples.length, val?.pool.length]).toEqual([1, 2]);
    expect(apart).toMatchObject({ examples: [{ id: '1' }], pool: [{ id: '3' }] });
    await expect(openTasks(runWith({ tasks: { gone: { ...task, images: at('gone') } } }))).rejects.toThrow(
      `there is no folder or archive of images ${at('gone')}`,
    );
  });
});
