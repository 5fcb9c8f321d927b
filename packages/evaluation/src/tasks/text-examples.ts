import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { WeftError } from '@weft/common';
import type { ChoiceExample, LastWordExample } from './example.js';
import { checkSize, Entry } from './json-entries.js';

/**
 * Reads questions with several answers, one a line:
 * - `query`, `choices`, `gold` (the number of the right one): the texts as they are compared;
 * - ARC, OpenBookQA and CommonsenseQA: `question`, `choices` with `text` and `label`, `answerKey`;
 * - PIQA: `goal`, `sol1`, `sol2`, `label`;
 * - HellaSwag: `ctx`, `endings`, `label`.
 *
 * @throws WeftError `not_found` or `corrupt_data`, naming file and line
 */
export async function readChoices(path: string): Promise<ChoiceExample[]> {
  return readLines(path, (entry, id) => {
    const { context, choices, right } = choicesOf(entry);
    if (choices.length < 2)
      throw new WeftError('corrupt_data', `${entry.where} has ${choices.length} choices, but must have two or more`);
    if (!Number.isInteger(right) || right < 0 || right >= choices.length)
      throw new WeftError('corrupt_data', `${entry.where}: the right choice is none of its ${choices.length} choices`);
    return { kind: 'multipleChoice', id, where: entry.where, context, choices: choices.map(continued), right };
  });
}

/**
 * Reads texts whose last word is asked for, as LAMBADA has them: `text`, one a line.
 *
 * @throws WeftError `not_found` or `corrupt_data`, naming file and line
 */
export async function readLastWords(path: string): Promise<LastWordExample[]> {
  return readLines(path, (entry, id) => {
    const text = entry.text('text').trimEnd();
    const space = text.search(/\s\S+$/);
    if (space <= 0)
      throw new WeftError(
        'corrupt_data',
        `${entry.where}: text has one word alone, but the last one must follow others`,
      );
    return {
      kind: 'lastWord',
      id,
      where: entry.where,
      context: text.slice(0, space),
      word: continued(text.slice(space)),
    };
  });
}

interface Choices {
  readonly context: string;
  readonly choices: readonly string[];
  readonly right: number;
}

function choicesOf(entry: Entry): Choices {
  if (entry.has('query'))
    return { context: entry.text('query'), choices: entry.texts('choices'), right: Number(entry.id('gold')) };
  if (entry.has('goal')) {
    const choices = [entry.text('sol1'), entry.text('sol2')];
    return { context: `Question: ${entry.text('goal')}\nAnswer:`, choices, right: Number(entry.id('label')) };
  }
  if (entry.has('ctx'))
    return { context: entry.text('ctx'), choices: entry.texts('endings'), right: Number(entry.id('label')) };
  if (entry.has('question') && entry.has('answerKey')) {
    const choices = entry.entry('choices');
    const right = choices.texts('label').indexOf(entry.text('answerKey'));
    return { context: `Question: ${entry.text('question')}\nAnswer:`, choices: choices.texts('text'), right };
  }
  throw new WeftError(
    'corrupt_data',
    `${entry.where} has the fields ${entry.names.join(', ')}, of which no question with choices can be made`,
    {
      hint: 'write query, choices and gold, or use the fields of ARC, PIQA or HellaSwag',
    },
  );
}

/** What follows a text follows after a space. */
const continued = (text: string) => (/^\s/.test(text) ? text.replace(/^\s+/, ' ') : ` ${text}`);

async function readLines<Each>(path: string, example: (entry: Entry, id: string) => Each): Promise<Each[]> {
  await checkSize(path);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const error = WeftError.from(cause);
    throw new WeftError(error.code, `the file of examples ${path} cannot be read: ${error.message}`, { cause });
  });
  const examples = text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    return [example(new Entry(parse(line, `${basename(path)}:${i + 1}`), `${basename(path)}:${i + 1}`), String(i + 1))];
  });
  if (examples.length === 0) throw new WeftError('invalid_argument', `${path} holds no example`);
  return examples;
}

function parse(line: string, where: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new WeftError('corrupt_data', `${where} is not whole JSON: ${WeftError.from(cause).message}`, { cause });
  }
}
