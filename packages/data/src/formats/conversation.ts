import { isJsonObject, type JsonObject, plural, WeftError } from '@weft/common';
import type { ChatRole, ChatTurn } from './chat-template.js';

/** Who speaks, by the words that data sets use: LLaVA's and ShareGPT's `from`, and `role`. */
const ROLES: Readonly<Record<string, ChatRole>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  system: 'system',
};

/** Where an image of a conversation goes. */
const IMAGE_MARK = '<image>';

/** Turns that the model has not answered yet at the end are left out, as nothing is learned from them. */
export type Conversation = readonly ChatTurn<string>[];

/**
 * A conversation of one of two forms; images are named by paths:
 * - LLaVA's and ShareGPT's `{"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhat is it?"}, …]}`,
 *   where `image`, or `images`, is a path or a list of them;
 * - `{"images": ["a.png"], "messages": [{"role": "user", "content": "<image>What is it?"}, …]}`, where a content may also be
 *   a list of `{"type": "text", "text": …}` and `{"type": "image"}`, the latter with or without the path in `image`.
 *
 * @param where names the record
 * @throws WeftError `corrupt_data` for other forms, unknown roles, other numbers of images and marks, and no answer
 */
export function readConversation(value: unknown, where: string): Conversation {
  const fields: JsonObject = isJsonObject(value) ? value : {};
  const list = fields.conversations ?? fields.messages;
  if (!Array.isArray(list)) {
    const names = Object.keys(fields).slice(0, FIELDS_SHOWN);
    const there = names.length === 0 ? '' : `; it has ${names.join(', ')}`;
    throw refused(where, `has no list "conversations" or "messages"${there}`, FORM);
  }
  const images = new ImageNames(fields, where);
  const turns = list.map((entry: unknown, i): ChatTurn<string> => {
    const turn: JsonObject = isJsonObject(entry) ? entry : {};
    const name = turn.from ?? turn.role;
    const role = typeof name === 'string' && Object.hasOwn(ROLES, name) ? ROLES[name] : undefined;
    if (role === undefined)
      throw refused(
        where,
        `has the role ${JSON.stringify(name) ?? 'undefined'} in turn ${i + 1}`,
        `roles are ${Object.keys(ROLES).join(', ')}`,
      );
    return { role, content: contentOf(turn.value ?? turn.content, images, where, i + 1) };
  });
  images.checkCount();
  const answer = turns.findLastIndex(({ role, content }) => role === 'assistant' && content.some(isNotEmpty));
  if (answer < 0) throw refused(where, 'has no answer', 'give it a turn of the assistant (gpt) that is not empty');
  return turns.slice(0, answer + 1);
}

const FORM =
  'write {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\\n…"}, {"from": "gpt", "value": "…"}]}';
/** Fields that a message names. */
const FIELDS_SHOWN = 10;

const isNotEmpty = (content: ChatTurn<string>['content'][number]) => 'image' in content || content.text.trim() !== '';

function contentOf(content: unknown, images: ImageNames, where: string, number: number): ChatTurn<string>['content'] {
  if (typeof content === 'string') return marked(content, images);
  if (!Array.isArray(content)) throw refused(where, `has no text in turn ${number}`, FORM);
  return content.flatMap((part: unknown): ChatTurn<string>['content'] => {
    if (typeof part === 'string') return marked(part, images);
    const { type, text, image }: JsonObject = isJsonObject(part) ? part : {};
    if (type === 'text' && typeof text === 'string') return [{ text }];
    if (type === 'image') return [{ image: typeof image === 'string' ? image : images.next() }];
    throw refused(
      where,
      `has ${JSON.stringify(part)} in turn ${number}`,
      'parts of a content are {"type": "text", "text": "…"} and {"type": "image"}',
    );
  });
}

/** A text with marks, as texts and images. */
function marked(text: string, images: ImageNames): ChatTurn<string>['content'] {
  return text
    .split(IMAGE_MARK)
    .flatMap((part, i) => [...(i === 0 ? [] : [{ image: images.next() }]), ...(part === '' ? [] : [{ text: part }])]);
}

/** The images of a record, given to its marks in order. */
class ImageNames {
  readonly #names: readonly string[];
  readonly #where: string;
  #asked = 0;

  constructor({ image, images = image }: JsonObject, where: string) {
    const list: readonly unknown[] = Array.isArray(images)
      ? images
      : images === undefined || images === null
        ? []
        : [images];
    const names = list.filter((name) => typeof name === 'string');
    if (names.length < list.length)
      throw refused(where, 'names an image by what is no text', 'give "image" a path or a list of paths');
    this.#names = names;
    this.#where = where;
  }

  /** The next image; which of them are missing is told by `checkCount`. */
  next(): string {
    return this.#names[this.#asked++] ?? '';
  }

  checkCount(): void {
    if (this.#asked === this.#names.length) return;
    throw refused(
      this.#where,
      `has ${plural(this.#asked, `${IMAGE_MARK} mark`)}, but names ${plural(this.#names.length, 'image')}`,
      `write one ${IMAGE_MARK} for each image`,
    );
  }
}

function refused(where: string, what: string, hint: string): WeftError {
  return new WeftError('corrupt_data', `${where} ${what}`, { hint });
}
