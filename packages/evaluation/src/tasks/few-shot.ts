import { Random, WeftError } from '@weft/common';
import type { ChatTemplate, ImageTask, TextTask } from '@weft/config';
import { type ChatTurn, chatPrompt } from '@weft/data';
import type { Example, ImageExample, ImageFile, QuestionExample } from './example.js';

/** A text, an image or, behind a shot of a conversation, an end of text of a prompt. The image is not read yet. */
export type PromptPart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'end' }
  | { readonly kind: 'image'; readonly image: ImageFile };

/** What the model is given before it answers. */
export interface FewShotPrompt {
  readonly parts: readonly PromptPart[];
  /** Solved examples in it. Fewer than were asked for, where more do not fit. */
  readonly shots: number;
}

/** What a prompt may hold. */
export interface PromptSpace {
  /** Positions of prompt and answer together. */
  readonly sequenceLength: number;
  /** Positions of an image, of all its views together. */
  readonly tokensPerImage: number;
  /** Tokens of a text. */
  readonly tokensOf: (text: string) => number;
  /** Of a model that was trained on conversations: images are asked about in its words, each shot a turn before. */
  readonly chatTemplate: ChatTemplate | undefined;
}

/**
 * The solved examples before an example, nearest last: drawn by seed, task and example, so that every run and every rank
 * draws the same ones, and fewer shots are the last ones of more. Never the example itself, nor one about its image.
 *
 * @param pool what is drawn from
 * @throws WeftError `invalid_argument` when the pool holds too few
 */
export function drawShots<Each extends Example>(
  example: Each,
  pool: readonly Each[],
  shots: number,
  task: string,
  seed: number,
): readonly Each[] {
  const random = Random.of(seed, 'shots', task, example.id);
  const drawn = new Set<number>();
  const passed = new Set<number>();
  while (drawn.size < shots) {
    if (drawn.size + passed.size === pool.length)
      throw new WeftError(
        'invalid_argument',
        `${example.where}: ${shots} shots were asked for, but the task ${task} has only ${drawn.size} other examples`,
        {
          hint: 'ask for fewer shots, or give the task a larger file of shotExamples',
        },
      );
    const index = random.below(pool.length);
    const other = pool[index];
    if (other === undefined || drawn.has(index) || passed.has(index)) continue;
    (isSame(example, other) ? passed : drawn).add(index);
  }
  return [...drawn].toReversed().flatMap((index) => pool[index] ?? []);
}

function isSame(example: Example, other: Example): boolean {
  if ('image' in example && 'image' in other) return example.image.name === other.image.name;
  return example.where === other.where;
}

/**
 * The prompt of an example, with as many of its shots as fit behind one another: those farthest from it are left out
 * first.
 *
 * @param answerTokens positions that the answer needs
 * @throws WeftError `invalid_argument` naming the example when not even the example alone fits
 */
export function fewShotPrompt(
  task: ImageTask | TextTask,
  example: Example,
  shots: readonly Example[],
  space: PromptSpace,
  answerTokens: number,
): FewShotPrompt {
  const available = space.sequenceLength - answerTokens;
  for (let left = 0; left <= shots.length; left++) {
    const parts = promptParts(task, example, shots.slice(left), space);
    if (positionsOf(parts, space) <= available) return { parts, shots: shots.length - left };
  }
  const parts = promptParts(task, example, [], space);
  const [only] = parts;
  if (parts.length === 1 && only?.kind === 'text' && available > 0)
    return { parts: [{ kind: 'text', text: textEnd(only.text, available, space) }], shots: 0 };
  throw new WeftError(
    'invalid_argument',
    `${example.where}: its prompt takes ${positionsOf(parts, space)} positions and its answer up to ${answerTokens}, but model.sequenceLength is ${space.sequenceLength}`,
    {
      hint: 'leave the example out, set a smaller maxTokens, or evaluate a model of longer sequences',
    },
  );
}

function promptParts(
  task: ImageTask | TextTask,
  example: Example,
  shots: readonly Example[],
  { chatTemplate }: PromptSpace,
): PromptPart[] {
  if (chatTemplate === undefined || !('prompt' in task))
    return joined([...shots.flatMap((shot) => solved(task, shot)), ...asked(task, example)]);
  const turn = (of: Example): ChatTurn<ImageFile> => ({
    role: 'user',
    content: asked(task, of).flatMap((part) => (part.kind === 'end' ? [] : [part])),
  });
  const turns = shots.flatMap((shot): ChatTurn<ImageFile>[] => [
    turn(shot),
    { role: 'assistant', content: [{ text: answerOf(shot).trim() }] },
  ]);
  return chatPrompt(chatTemplate, [...turns, turn(example)]).map(
    (part): PromptPart => (part.kind === 'text' ? { kind: 'text', text: part.text } : part),
  );
}

/** The positions of a prompt. */
function positionsOf(parts: readonly PromptPart[], { tokensPerImage, tokensOf }: PromptSpace): number {
  const positions = (part: PromptPart) =>
    part.kind === 'image' ? tokensPerImage : part.kind === 'text' ? tokensOf(part.text) : 1;
  return parts.reduce((sum, part) => sum + positions(part), 0);
}

/** What the model is asked. */
function asked(task: ImageTask | TextTask, example: Example): PromptPart[] {
  if (!('prompt' in task)) return 'context' in example ? [{ kind: 'text', text: example.context }] : [];
  if (!('image' in example)) return [];
  const texts = task.prompt.split('{IMAGE}').map((text) => text.replaceAll('{QUESTION}', () => questionOf(example)));
  return texts.flatMap((text, i): PromptPart[] => [
    ...(i === 0 ? [] : [{ kind: 'image', image: example.image } as const]),
    ...(text === '' ? [] : [{ kind: 'text', text } as const]),
  ]);
}

const questionOf = (example: ImageExample) => ('question' in example ? example.question : '');

/** A shot: question and answer, and what separates it from the next one. */
function solved(task: ImageTask | TextTask, example: Example): PromptPart[] {
  return [...asked(task, example), { kind: 'text', text: answerOf(example) + task.separator }];
}

/** What a shot answers, as it continues the prompt. */
function answerOf(example: Example): string {
  switch (example.kind) {
    case 'caption':
      return ` ${example.references[0]?.trim()}`;
    case 'question':
      return ` ${mostFrequent(example)}`;
    case 'multipleChoice':
      return example.choices[example.right] ?? '';
    case 'lastWord':
      return example.word;
  }
}

/** The answer that most annotators gave; of several the first. */
function mostFrequent({ answers }: QuestionExample): string {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return [...counts].find(([, count]) => count === most)?.[0] ?? '';
}

/** Texts that follow one another are one text: a tokenizer may join what is on both sides. */
function joined(parts: readonly PromptPart[]): PromptPart[] {
  const result: PromptPart[] = [];
  for (const part of parts) {
    const last = result.at(-1);
    if (part.kind === 'text' && last?.kind === 'text')
      result[result.length - 1] = { kind: 'text', text: last.text + part.text };
    else result.push(part);
  }
  return result;
}

/** As much of the end of a text as fits, from the beginning of a word where one does. */
function textEnd(text: string, available: number, { tokensOf }: PromptSpace): string {
  let words = text.split(/(?<=\s)/);
  while (words.length > 1 && tokensOf(words.join('')) > available)
    words = words.slice(Math.max(1, Math.floor(words.length / 8)));
  let end = words.join('');
  while (end.length > 1 && tokensOf(end) > available) end = end.slice(Math.ceil(end.length / 8));
  return end;
}
