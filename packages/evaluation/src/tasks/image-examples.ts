import { basename } from 'node:path';
import { isJsonObject, WeftError } from '@weft/common';
import type { CaptionExample, QuestionExample } from './example.js';
import type { ImageCollection, ImageName } from './images.js';
import { Entry, readExampleFile } from './json-entries.js';

/**
 * Reads images with captions, one example an image, in the order of the file:
 * - COCO and NoCaps: `images` with `id` and `file_name`, `annotations` with `image_id` and `caption`;
 * - TextCaps: `data` with `image_id` and `caption_str`, or `reference_strs`.
 *
 * @throws WeftError `not_found`, `invalid_argument` or `corrupt_data`, naming file and entry
 */
export async function readCaptions(path: string, images: ImageCollection): Promise<CaptionExample[]> {
  const file = new Entry(await readExampleFile(path), basename(path));
  const captions = new Map<string, { name: ImageName; where: string; references: Set<string> }>();
  if (file.has('data')) {
    for (const entry of file.entries('data')) {
      const name = imageName(entry, 'image_id');
      const known = captions.get(name.id) ?? { name, where: entry.where, references: new Set() };
      captions.set(name.id, known);
      const references = entry.has('reference_strs') ? entry.texts('reference_strs') : [entry.text('caption_str')];
      for (const reference of references) known.references.add(reference);
    }
  } else {
    for (const entry of file.entries('images')) {
      const name = imageName(entry, 'id');
      captions.set(name.id, { name, where: `${file.where}: image ${name.id}`, references: new Set() });
    }
    for (const entry of file.entries('annotations')) {
      const id = entry.id('image_id');
      const known = captions.get(id);
      if (known === undefined) throw new WeftError('corrupt_data', `${entry.where}: there is no image ${id} in images`);
      known.references.add(entry.text('caption'));
    }
  }
  return refuseNone(
    path,
    [...captions.values()].map(({ name, where, references }): CaptionExample => {
      if (references.size === 0) throw withoutAnswers(where, 'caption');
      return { kind: 'caption', id: name.id, where, image: images.find(name, where), references: [...references] };
    }),
  );
}

/**
 * Reads questions about images:
 * - VQA v2 and OK-VQA: `annotations` with `question_id`, `image_id` and `answers` of `answer`, and a second file with
 *   `questions` of `question_id` and `question`;
 * - TextVQA: `data` with `question_id`, `question`, `image_id` and `answers`, a list of texts;
 * - VizWiz: a list with `image`, `question` and `answers` of `answer`;
 * - GQA: by the id of a question `imageId`, `question` and `answer`.
 *
 * @param questions the second file; null where there is one alone
 * @throws WeftError `not_found`, `invalid_argument` or `corrupt_data`, naming file and entry
 */
export async function readQuestions(
  path: string,
  questions: string | null,
  images: ImageCollection,
): Promise<QuestionExample[]> {
  const value = await readExampleFile(path);
  const where = basename(path);
  const example = (entry: Entry, id: string, question: string, name: ImageName): QuestionExample => ({
    kind: 'question',
    id,
    where: entry.where,
    image: images.find(name, entry.where),
    question,
    answers: answersOf(entry),
  });
  if (Array.isArray(value)) {
    const entries = value.map((each, i) => new Entry(each, `${where}[${i}]`));
    return refuseNone(
      path,
      entries.map((entry, i) => example(entry, String(i), entry.text('question'), imageName(entry, 'image'))),
    );
  }
  const file = new Entry(value, where);
  if (file.has('annotations')) {
    const asked = await readQuestionTexts(path, questions);
    return refuseNone(
      path,
      file.entries('annotations').map((entry) => {
        const id = entry.id('question_id');
        const question = asked.get(id);
        if (question !== undefined) return example(entry, id, question, imageName(entry, 'image_id'));
        throw new WeftError('corrupt_data', `${entry.where}: there is no question ${id} in ${questions}`);
      }),
    );
  }
  if (file.has('data')) {
    const entries = file.entries('data');
    return refuseNone(
      path,
      entries.map((entry) =>
        example(entry, entry.id('question_id'), entry.text('question'), imageName(entry, 'image_id')),
      ),
    );
  }
  if (!isJsonObject(value) || file.has('questions')) throw withoutAnswers(where, 'answer');
  const entries = file.names.map((id) => [id, file.entry(id)] as const);
  return refuseNone(
    path,
    entries.map(([id, entry]) => example(entry, id, entry.text('question'), imageName(entry, 'imageId'))),
  );
}

async function readQuestionTexts(path: string, questions: string | null): Promise<ReadonlyMap<string, string>> {
  if (questions === null)
    throw new WeftError('invalid_argument', `${basename(path)} has answers without their questions`, {
      hint: 'name the file of questions in the field questions of the task',
    });
  const file = new Entry(await readExampleFile(questions), basename(questions));
  return new Map(file.entries('questions').map((entry) => [entry.id('question_id'), entry.text('question')]));
}

function imageName(entry: Entry, field: string): ImageName {
  const file = ['file_name', 'image_name', 'image'].find((name) => entry.has(name));
  return { id: entry.id(field), file: file === undefined ? undefined : entry.text(file) };
}

function answersOf(entry: Entry): readonly string[] {
  if (entry.has('answer')) return [entry.text('answer')];
  if (!entry.has('answers') || entry.list('answers').length === 0) throw withoutAnswers(entry.where, 'answer');
  return entry.list('answers').map((each, i) => {
    if (typeof each === 'string') return each;
    // Millions of answers: what is wrong is found out only where something is.
    if (isJsonObject(each) && typeof each.answer === 'string') return each.answer;
    return new Entry(each, `${entry.where}: answers[${i}]`).text('answer');
  });
}

/** Test sets are published without them. */
function withoutAnswers(where: string, what: 'answer' | 'caption'): WeftError {
  return new WeftError('invalid_argument', `${where} has no ${what} to compare with`, {
    hint: `name a file with ${what}s: those of validation sets are public, those of most test sets are not`,
  });
}

function refuseNone<Each>(path: string, examples: Each[]): Each[] {
  if (examples.length > 0) return examples;
  throw new WeftError('invalid_argument', `${path} holds no example`);
}
