import type { SourceId } from '@weft/common';
import { type ChatTemplate, MESSAGE_TEXT, type RunConfig, type SourceKind, type TaskKind } from '@weft/config';
import type { Dataset, Segment } from '@weft/data';
import { heldOutSequence } from '@weft/mixture';
import type { CaptionExample, ChoiceExample, Example, ImageFile, LastWordExample, QuestionExample } from './example.js';

/** Where the examples of each kind of task come from. */
const SOURCE_KINDS: Readonly<Record<TaskKind, readonly SourceKind[]>> = {
  caption: ['captioned'],
  question: ['interleaved', 'conversations'],
  multipleChoice: ['text'],
  lastWord: ['text'],
};

/**
 * Examples from the sequences of a run that are never trained on, so that tasks need no files:
 * - captions of captioned sources;
 * - questions about flags and capitals, out of the demo's countries, and the first ones of conversations about an image;
 * - last words of sentences of texts, to give or to choose.
 * None where the held-out documents say nothing of the kind.
 */
export async function heldOutExamples(
  kind: TaskKind,
  dataset: Dataset,
  { data, evaluation }: Pick<RunConfig, 'data' | 'evaluation'>,
): Promise<readonly Example[]> {
  const documents: Document[] = [];
  for (const [source, sourceKind] of Object.entries(data.sources)) {
    if (!SOURCE_KINDS[kind].includes(sourceKind)) continue;
    for await (const document of heldOutDocuments(dataset, source, evaluation.sequencesPerSource))
      documents.push(document);
  }
  switch (kind) {
    case 'caption':
      return documents.flatMap(captionOf);
    case 'question':
      return documents.flatMap((document) =>
        document.answer === undefined ? questionsOf(document) : conversationOf(document, data.chatTemplate),
      );
    case 'multipleChoice':
      return choicesOf(documents.flatMap(lastWordOf));
    case 'lastWord':
      return documents.flatMap(lastWordOf);
  }
}

/** A document, or the part of one that fits a sequence. */
interface Document {
  /** The source, and its number there. */
  readonly where: string;
  readonly id: string;
  /** The image it begins with. */
  readonly image: ImageFile | undefined;
  /** From there to the next image. */
  readonly text: string;
  /** Of a conversation, the first thing that the model is to say; undefined of other documents. */
  readonly answer: string | undefined;
  /** Whether it begins where the document does. */
  readonly isBeginning: boolean;
}

async function* heldOutDocuments(dataset: Dataset, source: SourceId, heldOut: number): AsyncGenerator<Document> {
  const size = dataset.heldOutBase(source, heldOut);
  for (let n = 0; n < Math.min(heldOut, size); n++) {
    const { segments } = await dataset.readSequence(source, heldOutSequence(n, size, heldOut, source));
    for (const { entries, targets, images, document, part } of segments) {
      const id = `${source}-${document}-${part}`;
      const where = `the held-out document ${document} of the source ${source}`;
      if (targets !== null) {
        yield { ...firstTurn(dataset, source, { entries, targets, images }), where, id, isBeginning: true };
        continue;
      }
      const location = entries[0] !== undefined && entries[0] < 0 ? images[0] : undefined;
      const image = location && { name: `the image of ${where}`, read: () => dataset.readImageFile(source, location) };
      const tokens = image === undefined ? entries : entries.subarray(1);
      const end = tokens.findIndex((entry) => entry < 0);
      const text = dataset.tokenizer.decode(end < 0 ? tokens : tokens.subarray(0, end));
      yield { where, id, image, text, answer: undefined, isBeginning: part === 0 };
    }
  }
}

/** The first image, question and answer of a conversation, in the words of its template. */
function firstTurn(
  dataset: Dataset,
  source: SourceId,
  { entries, targets, images }: Pick<Segment, 'entries' | 'targets' | 'images'>,
): Pick<Document, 'image' | 'text' | 'answer'> {
  const begin = targets?.indexOf(1) ?? -1;
  const answered = begin < 0 ? entries.length : begin;
  const end = entries.indexOf(dataset.tokenizer.endOfTextId, answered);
  const [location] = images;
  const isAsked = location !== undefined && entries.subarray(0, answered).includes(-1);
  const image = isAsked
    ? {
        name: `image ${location.offset} of shard ${location.shard} of the source ${source}`,
        read: () => dataset.readImageFile(source, location),
      }
    : undefined;
  const text = dataset.tokenizer.decode(entries.subarray(0, answered).filter((entry) => entry >= 0));
  return { image, text, answer: dataset.tokenizer.decode(entries.subarray(answered, end < 0 ? undefined : end)) };
}

/** The question is what the user said, without the words of the template around it. */
function conversationOf({ where, id, image, text, answer = '' }: Document, template: ChatTemplate): QuestionExample[] {
  const [before = '', after = ''] = template.user.split(MESSAGE_TEXT);
  const [begin = ''] = template.assistant.split(MESSAGE_TEXT);
  const from = text.indexOf(before);
  if (image === undefined || from < 0 || !text.endsWith(after + begin)) return [];
  const question = text.slice(from + before.length, text.length - after.length - begin.length).trim();
  return [{ kind: 'question', id, where, image, question, answers: [answer.trim()] }];
}

/** The demo's captions name their image before they list keywords. */
function captionOf({ where, id, image, text, isBeginning }: Document): CaptionExample[] {
  const caption = text.replace(/\. Keywords: [\s\S]*$/, '').trim();
  if (image === undefined || !isBeginning || caption === '') return [];
  return [{ kind: 'caption', id, where, image, references: [caption] }];
}

/** What a document about a country says. */
function countryOf({ text }: Document): { readonly name: string; readonly capital: string | undefined } | undefined {
  const name = /^The flag of ([^,.]+)[,.]/.exec(text)?.[1];
  const capital = /Its capital is ([^.]+)\./.exec(text)?.[1];
  return name === undefined ? undefined : { name, capital };
}

function questionsOf(document: Document): QuestionExample[] {
  const { where, id, image } = document;
  const country = countryOf(document);
  if (image === undefined || country === undefined) return [];
  const ask = (what: string, question: string, answer: string): QuestionExample => ({
    ...{ kind: 'question', id: `${id}-${what}`, where, image, question },
    answers: [answer],
  });
  return [
    ask('flag', 'Which country?', country.name),
    ...(country.capital === undefined ? [] : [ask('capital', 'Which capital?', country.capital)]),
  ];
}

/** The wrong choices are the last words of the next three examples that end otherwise. */
function choicesOf(words: readonly LastWordExample[]): ChoiceExample[] {
  const all = [...new Set(words.map(({ word }) => word))];
  const count = Math.min(4, all.length);
  if (count < 2) return [];
  return words.map(({ id, where, context, word }, i): ChoiceExample => {
    const at = all.indexOf(word);
    const others = Array.from({ length: count - 1 }, (_, k) => all[(at + k + 1) % all.length] ?? '');
    const right = i % count;
    const choices = [...others.slice(0, right), word, ...others.slice(right)];
    return { kind: 'multipleChoice', id, where, context, choices, right };
  });
}

/** Words before the last one: with fewer nobody could tell, and more leave no place for shots in a short sequence. */
const [FEWEST_WORDS, MOST_WORDS] = [6, 8];

/** The end of the last whole sentence of a part of a text. */
function lastWordOf({ where, id, text, isBeginning }: Document): LastWordExample[] {
  const [sentences = ''] = /^[\s\S]*[.!?](?=\s|$)/.exec(text) ?? [];
  // A part of a document may begin within a word.
  const whole = (isBeginning ? sentences : sentences.replace(/^\S*\s+/, '')).trim().replace(/[^\p{L}\d]+$/u, '');
  const words = whole.split(/\s+/);
  const word = words.pop() ?? '';
  if (words.length < FEWEST_WORDS) return [];
  const context = words.slice(-MOST_WORDS).join(' ');
  return [{ kind: 'lastWord', id, where, context, word: ` ${word}` }];
}
