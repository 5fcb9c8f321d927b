import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ShardFile, TarWriter } from '@weft/data';
import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { makeDemoData } from './data.mjs';

const KINDS = ['Animals & Nature', 'Food & Drink', 'People & Body', 'Travel & Places', 'Symbols'];
const MORE_KINDS = ['Smileys & Emotion', 'Objects', 'Flags', 'Activities'];

it('the data of the demo show no picture of a question in training, and keep a page to one language', async () => {
  await using folder = await temporaryDirectory();
  const [demo, made] = [join(folder.path, 'demo'), join(folder.path, 'mm1-demo')];
  await mkdir(join(demo, 'captioned'), { recursive: true });
  const writer = await TarWriter.create(join(demo, 'captioned/emoji-00000.tar'));
  for (const category of [...KINDS, ...MORE_KINDS])
    for (let i = 0; i < 40; i++) {
      const [key, name] = [`${category.slice(0, 3)}${i}`, `${category} ${i >> 1}${i % 2 ? ', dark skin tone' : ''}`];
      await writer.add(`${key}.png`, Buffer.from(`picture of ${key}`));
      await writer.add(`${key}.txt`, Buffer.from(`${name}. Keywords: none.`));
      await writer.add(`${key}.json`, Buffer.from(JSON.stringify({ name, category })));
    }
  await writer.finish();

  expect(await makeDemoData(demo, made, { pages: 30, conversations: 20 })).toMatch(/on, 30 pages, 20 conversations/);
  const before = await stat(join(made, 'kinds.json'));
  expect(await makeDemoData(demo, made)).toBe('already there');
  expect((await stat(join(made, 'kinds.json'))).mtimeMs).toBe(before.mtimeMs);

  const questions: Record<string, { imageId: string; answer: string }> = JSON.parse(
    await readFile(join(made, 'kinds.json'), 'utf8'),
  );
  const shuffled: typeof questions = JSON.parse(await readFile(join(made, 'kinds-shuffled.json'), 'utf8'));
  const asked = new Set(Object.values(questions).map(({ imageId }) => imageId));
  expect(asked.size).toBeGreaterThan(15);
  expect(
    Object.values(shuffled)
      .map(({ imageId }) => imageId)
      .toSorted(),
  ).toEqual([...asked].toSorted());
  expect(shuffled).not.toEqual(questions);

  const trained = (await names(join(made, 'captions/emoji-00000.tar'))).map((name) => name.replace(/\.\w+$/, ''));
  expect(trained.filter((name) => asked.has(name))).toEqual([]);
  const chats = (await readFile(join(made, 'chats/chats-00000.jsonl'), 'utf8')).trimEnd().split('\n');
  const answers = chats.map((line) =>
    JSON.parse(line).conversations.flatMap(({ from, value }: { from: string; value: string }) =>
      from === 'gpt' ? [value] : [],
    ),
  );
  // English has no word of another language.
  for (const words of answers)
    if (words.includes('animal')) expect(words.join(' ')).not.toMatch(/Tier|animale|Essen|cibo|Flagge|bandiera/);
});

async function names(path: string): Promise<string[]> {
  const shard = await ShardFile.open(path);
  const found: string[] = [];
  for await (const { name } of shard.entries()) found.push(name);
  await shard.close();
  return found;
}
